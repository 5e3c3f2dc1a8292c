// Named imports are not replaced by fake timers: a broker goes on working under them, and none gets stuck when
// they are removed with a turn pending. Expiry is time, and follows the global (perhaps fake) timers.
import { setImmediate } from "node:timers";
import { runOutsideContext } from "../../async/outside-context.ts";
import { Deque } from "./deque.ts";

/** Callbacks that one turn makes, so that sockets and timers have their say between turns. */
const callbacksPerTurn = 256;

/** Something with callbacks to make. */
export interface TurnTask {
  /** True if the loop has it already; only the loop writes it. */
  scheduled: boolean;
  /** Makes at most `limit` callbacks. @returns whether there are more to make. */
  run(limit: number): boolean;
}

/**
 * Makes all of a broker's callbacks, in one `setImmediate` at a time. A pending turn keeps the process alive: there is work.
 */
export class TurnLoop {
  readonly #tasks = new Deque<TurnTask>();
  #pending = false;

  schedule(task: TurnTask): void {
    if (task.scheduled) return;
    task.scheduled = true;
    this.#tasks.push(task);
    if (this.#pending) return;
    this.#pending = true;
    // A turn calls back for many, not only for whoever scheduled its first task.
    runOutsideContext(startTurn, this.#turn);
  }

  readonly #turn = (): void => {
    const count = this.#tasks.length;
    const share = Math.ceil(callbacksPerTurn / count);
    for (let i = 0; i < count; i += 1) {
      const task = this.#tasks.shift();
      if (task === undefined) break;
      if (task.run(share)) this.#tasks.push(task);
      else task.scheduled = false;
    }
    this.#pending = this.#tasks.length > 0;
    if (this.#pending) setImmediate(this.#turn);
  };
}

function startTurn(turn: () => void): void {
  setImmediate(turn);
}

/** Lets what a callback threw reach the process as an uncaught exception, without harm to the broker. */
export function surface(thrown: unknown): void {
  queueMicrotask(() => {
    throw thrown;
  });
}
