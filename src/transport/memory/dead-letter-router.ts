import { type DeathReason, recordDeath } from "./dead-letter.ts";
import { Deque } from "./deque.ts";
import type { Queue, QueuedMessage } from "./queue.ts";

/** @returns the queues for a key, or `undefined` if there is no such exchange. */
export type DeadLetterRoute = (exchange: string, key: string) => readonly Queue[] | undefined;

/** A dead letter of an at-least-once queue, until every target has it. */
interface WaitingLetter {
  readonly letter: QueuedMessage;
  readonly delivered: Set<Queue>;
}

/** Sends dead letters on their way, and keeps those that must not be lost and have nowhere to go. */
export class DeadLetterRouter {
  readonly #route: DeadLetterRoute;
  readonly #waiting = new Map<Queue, Deque<WaitingLetter>>();

  constructor(route: DeadLetterRoute) {
    this.#route = route;
  }

  send(queue: Queue, letter: QueuedMessage, reason: DeathReason): void {
    const { deadLetterExchange: exchange, deadLetterKey, keepsDeadLetters } = queue.settings;
    if (exchange === undefined) return;
    const cause = {
      queue: queue.name,
      reason,
      exchange: letter.exchange,
      key: letter.key,
      nowMs: Date.now(),
    };
    const dead = {
      ...recordDeath(letter.message, letter.deaths, cause),
      exchange,
      key: deadLetterKey ?? letter.key,
    };
    if (!keepsDeadLetters) {
      for (const target of this.#route(exchange, dead.key) ?? []) {
        if (!isCycle(dead, target)) target.publish(dead);
      }
      return;
    }
    const mine = { letter: dead, delivered: new Set<Queue>() };
    const waiting = this.#waiting.get(queue) ?? new Deque();
    if (!this.#deliver(mine)) {
      this.#waiting.set(queue, waiting);
      waiting.push(mine);
      return;
    }
    // Its target takes letters: one that was full before may do so for those that wait, too.
    for (let first = waiting.first(); first !== undefined && this.#deliver(first); first = waiting.first()) {
      waiting.shift();
    }
  }

  /** Tries all again, after a change of the topology: something may have become a target. */
  retry(): void {
    for (const [queue, waiting] of this.#waiting) {
      for (let left = waiting.length; left > 0; left -= 1) {
        const letter = waiting.shift();
        if (letter !== undefined && !this.#deliver(letter)) waiting.push(letter);
      }
      if (waiting.length === 0) this.#waiting.delete(queue);
    }
  }

  /** The queue is gone, and with it what waited to leave it. */
  forget(queue: Queue): void {
    this.#waiting.delete(queue);
  }

  /** @returns whether nothing is left to do for this letter. */
  #deliver({ letter, delivered }: WaitingLetter): boolean {
    const targets = this.#route(letter.exchange, letter.key) ?? [];
    let refused = false;
    for (const target of targets) {
      if (delivered.has(target) || isCycle(letter, target)) continue;
      if (target.publish(letter)) delivered.add(target);
      else refused = true;
    }
    return targets.length > 0 && !refused;
  }
}

/** Without a reject in between, RabbitMQ drops what would enter a queue that it has died in. */
function isCycle(letter: QueuedMessage, target: Queue): boolean {
  return letter.deaths.some((death) => death.queue === target.name);
}
