import { type DeathReason, recordDeath } from "./dead-letter.ts";
import { Deque } from "./deque.ts";
import type { Queue, QueuedMessage } from "./queue.ts";

/** Returns the queues for a key, or `undefined` if the exchange does not exist. */
export type DeadLetterRoute = (exchange: string, key: string) => readonly Queue[] | undefined;

/** A dead letter of an at-least-once queue, which waits until every target has accepted it. */
interface WaitingLetter {
  readonly letter: QueuedMessage;
  readonly delivered: Set<Queue>;
}

/** Routes dead letters to their targets, and stores those that must not be lost while they have no target. */
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
    // The target accepts letters now, so it may also accept those that wait.
    for (let first = waiting.first(); first !== undefined && this.#deliver(first); first = waiting.first()) {
      waiting.shift();
    }
  }

  /** Tries all stored letters again after a change of the topology, because there may be a target now. */
  retry(): void {
    for (const [queue, waiting] of this.#waiting) {
      for (let left = waiting.length; left > 0; left -= 1) {
        const letter = waiting.shift();
        if (letter !== undefined && !this.#deliver(letter)) waiting.push(letter);
      }
      if (waiting.length === 0) this.#waiting.delete(queue);
    }
  }

  /** Drops the stored letters of a queue that was deleted. */
  forget(queue: Queue): void {
    this.#waiting.delete(queue);
  }

  /** Returns whether every target has the letter. */
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

/** Returns whether the letter died in the target before. RabbitMQ drops such a letter, unless it was rejected in between. */
function isCycle(letter: QueuedMessage, target: Queue): boolean {
  return letter.deaths.some((death) => death.queue === target.name);
}
