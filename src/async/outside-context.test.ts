import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, it, vi } from "vitest";
import { newEmptyResource, runInNewContext, runOutsideContext } from "./outside-context.ts";

const store = new AsyncLocalStorage<string>();
const other = new AsyncLocalStorage<string>();
const seen = (): (string | undefined)[] => [store.getStore(), other.getStore()];
const none = [undefined, undefined];

function inBoth<Result>(work: () => Result): Result {
  return store.run("first", () => other.run("second", work));
}

describe("outside of every context", () => {
  it("runs a function at once, and what it begins later", async () => {
    const later = inBoth(() => {
      expect(runOutsideContext(seen)).toEqual(none);
      return runOutsideContext(async (...given: number[]) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return [...given, ...seen()];
      }, 1);
    });
    expect(await later).toEqual([1, ...none]);
    expect(inBoth(() => runOutsideContext(seen) && seen())).toEqual(["first", "second"]);
  });

  it("passes on what is thrown, and is back in its caller's context after it", () => {
    const fail = (): never => {
      throw new Error("by intention");
    };
    for (const run of [runOutsideContext, runInNewContext]) {
      inBoth(() => {
        expect(() => run(fail)).toThrow("by intention");
        expect(seen()).toEqual(["first", "second"]);
      });
    }
  });

  it("keeps what an application enters from everything else", async () => {
    const enter = (): Promise<(string | undefined)[]> => {
      store.enterWith("entered");
      return Promise.resolve().then(seen);
    };
    const own = inBoth(() => runInNewContext(enter));
    expect(runInNewContext(seen)).toEqual(none);
    expect(runOutsideContext(seen)).toEqual(none);
    expect(newEmptyResource("test").runInAsyncScope(seen)).toEqual(none);
    expect(await own).toEqual(["entered", undefined]);
  });

  it("is empty though the module was first imported inside of a context", async () => {
    vi.resetModules();
    const imported = await inBoth(() => import("./outside-context.ts"));
    expect(imported.runOutsideContext).not.toBe(runOutsideContext);
    expect([imported.runOutsideContext(seen), imported.runInNewContext(seen)]).toEqual([none, none]);
    const later = imported.runOutsideContext(
      () => new Promise((resolve) => setTimeout(() => resolve(seen()), 1)),
    );
    expect(await later).toEqual(none);
  });
});
