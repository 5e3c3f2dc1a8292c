// These timers are imported by name, so that fake timers do not replace them: a broker works on under fake timers, and does not
// get stuck when they are removed during a turn. Expiry depends on time, so it uses the global timers, which may be fake.
import { setImmediate } from "node:timers";
import { runOutsideContext } from "../../async/outside-context.ts";
import { Deque } from "./deque.ts";

/** The number of callbacks in one turn. It is limited so that sockets and timers are served between turns. */
const callbacksPerTurn = 256;

/** A task that has callbacks to make. */
export interface TurnTask {
  /** True if the loop has the task already. Only the loop writes this field. */
  scheduled: boolean;
  /** Makes at most `limit` callbacks. Returns whether more are left. */
  run(limit: number): boolean;
}

/**
 * Makes all callbacks of a broker, in one `setImmediate` at a time. A pending turn keeps the process running, because there is
 * work.
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
    // Outside of the context, because a turn calls back for many tasks, not only for the one that started it.
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

/** Throws an error as an uncaught exception of the process, outside of the broker's own code. */
export function surface(thrown: unknown): void {
  queueMicrotask(() => {
    throw thrown;
  });
}
