import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { toMaybePromise } from "./invoke-handler.ts";

// A library's own promise, or what looks like one.
function thenable(method: unknown): object {
  const name: string = "then";
  return { [name]: method };
}

const values = [undefined, null, 0, "", "then", {}, [], thenable(1), () => undefined];

describe("what is here already", () => {
  it("is not pending, and stays what it is", () => {
    for (const value of values) {
      expect(toMaybePromise(value)).toBe(value);
      expect(toMaybePromise(value) instanceof Promise).toBe(false);
    }
  });
});

describe("what is to come", () => {
  it("is pending, and stays the same promise", () => {
    const promise = Promise.resolve(1);
    expect(toMaybePromise(promise)).toBe(promise);
    expect(promise instanceof Promise).toBe(true);
  });

  it("is pending also if its promise is of another realm or library", async () => {
    const foreign: unknown = runInNewContext("Promise.resolve(7)");
    const own = thenable((resolve: (value: number) => void) => resolve(7));
    for (const promise of [foreign, own]) {
      const soon = toMaybePromise(promise);
      expect(soon instanceof Promise).toBe(true);
      expect(await soon).toBe(7);
    }
  });

  it("rejects with what a promise of another library rejects with", async () => {
    const reason = new Error("no");
    const own = thenable((_: unknown, reject: (error: unknown) => void) => reject(reason));
    await expect(toMaybePromise(own)).rejects.toBe(reason);
  });
});
