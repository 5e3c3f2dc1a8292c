import { describe, expect, it, vi } from "vitest";
import { CallsPutAside } from "./calls-put-aside.ts";

const call = (correlationId: string) => ({
  body: new Uint8Array(),
  properties: { replyTo: "q", correlationId },
});

function counting(...consumers: readonly (number | Error)[]) {
  const left = [...consumers];
  const count = vi.fn(async () => {
    const next = left.shift() ?? 0;
    if (next instanceof Error) throw next;
    return next;
  });
  return { calls: new CallsPutAside(count), count };
}

describe("a call that comes marked out of its queue", () => {
  it.each([
    [[1, 1], true],
    [[2, 3], true],
    [[2, 1], false],
    [[0, 1], false], // this instance began to consume it later
    [[0, 0], false],
    [[1, new Error("the broker does not say")], false],
    [[new Error("the broker did not say"), 1], false],
  ] as const)("with consumers then and now of %s was only looked at: %s", async (consumers, wasLook) => {
    const { calls } = counting(...consumers);
    calls.note(call("a"));
    expect(await calls.wasLookedAt(call("a"))).toBe(wasLook);
  });

  it("is nothing that can be told of for an instance that did not put it aside, or that has told already", async () => {
    const { calls } = counting(1, 1);
    expect(calls.wasLookedAt(call("a"))).toBeUndefined();
    calls.note(call("a"));
    expect(await calls.wasLookedAt(call("a"))).toBe(true);
    expect(calls.wasLookedAt(call("a"))).toBeUndefined();
    calls.note(call("b"));
    calls.forget();
    expect(calls.wasLookedAt(call("b"))).toBeUndefined();
  });

  it("costs one question for all that were put aside together", () => {
    const { calls, count } = counting(1);
    for (const id of ["a", "b", "c"]) calls.note(call(id));
    expect(count).toHaveBeenCalledTimes(1);
  });
});
