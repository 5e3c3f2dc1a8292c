import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { HandlerRun, RunningHandlers } from "./deadline-scope.ts";
import type { MaybePromise } from "./maybe-promise.ts";

/** A run of a handler with a message of its own, whose end is what the handler returned or why it failed. */
class Run extends HandlerRun<unknown, unknown> {
  override readonly correlationId = undefined;
  override readonly what = "the test's handler";
  readonly message = { body: new Uint8Array(1_000_000) };
  override readonly work: () => MaybePromise<unknown>;

  constructor(beside: RunningHandlers, work: () => MaybePromise<unknown>) {
    super(1_000, beside, undefined);
    this.work = work;
  }

  override returned(result: unknown): unknown {
    return result;
  }

  override failed(reason: unknown): unknown {
    return reason;
  }
}

describe("a handler's run", () => {
  it("leaves its message to be collected, whatever was made in it and stays", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const beside = new RunningHandlers();
    const timers: NodeJS.Timeout[] = [];
    const messages = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const run = new Run(beside, async () => {
          timers.push(setInterval(() => undefined, 1_000_000));
        });
        await run.run();
        return new WeakRef(run.message);
      }),
    );
    try {
      for (let n = 0; n < 5; n++) {
        await new Promise(setImmediate);
        collect();
      }
      expect(messages.filter((message) => message.deref() !== undefined)).toEqual([]);
    } finally {
      for (const timer of timers) clearInterval(timer);
    }
  });

  it("ends with what a promise says that calls back in the very turn", async () => {
    class Hasty extends Promise<number> {
      static override get [Symbol.species](): PromiseConstructor {
        return Promise;
      }
      // biome-ignore lint/suspicious/noThenProperty: that is what is tried
      override then<Result>(onfulfilled?: ((value: number) => Result) | null): Promise<never> {
        return Promise.resolve(onfulfilled?.(7)) as Promise<never>;
      }
    }
    const beside = new RunningHandlers();
    expect(await new Run(beside, () => new Hasty(() => undefined)).run()).toBe(7);
    expect(beside.running.size).toBe(0);
  });
});
