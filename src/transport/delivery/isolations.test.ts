import { describe, expect, it, vi } from "vitest";
import { signalled } from "../../testing/conformance/suite.ts";
import { Isolations } from "./isolations.ts";

describe("what is delivered while messages are put aside", () => {
  it("is held until the last of them is, then goes on in its order", async () => {
    const isolations = new Isolations();
    const [first, second] = [signalled(), signalled()];
    const ended = [isolations.add(first.promise), isolations.add(second.promise)];
    const taken: number[] = [];
    for (const n of [1, 2]) isolations.hold(() => void taken.push(n));
    first.resolve();
    await ended[0];
    expect([isolations.isUnderWay, taken]).toEqual([true, []]);
    second.resolve();
    await ended[1];
    expect([isolations.isUnderWay, taken]).toEqual([false, [1, 2]]);
  });

  it("goes on after a while, if they cannot be put aside, and is held again the next time", async () => {
    vi.useFakeTimers();
    try {
      const isolations = new Isolations();
      const stuck = signalled();
      const ended = isolations.add(stuck.promise);
      const deliver = vi.fn();
      isolations.hold(deliver);
      vi.advanceTimersByTime(4_999);
      expect(deliver).not.toHaveBeenCalled();
      vi.advanceTimersByTime(1);
      expect([deliver.mock.calls.length, isolations.isUnderWay]).toEqual([1, false]);
      stuck.resolve();
      await ended;
      void isolations.add(new Promise(() => undefined));
      expect(isolations.isUnderWay).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  it("is dropped with its connection: the broker delivers it again", async () => {
    const isolations = new Isolations();
    const deliver = vi.fn();
    const isolation = signalled();
    const ended = isolations.add(isolation.promise);
    isolations.hold(deliver);
    isolations.forget();
    expect(isolations.isUnderWay).toBe(false);
    const next = signalled();
    const later = isolations.add(next.promise);
    isolation.resolve();
    await ended;
    expect([deliver.mock.calls.length, isolations.isUnderWay]).toEqual([0, true]);
    next.resolve();
    await later;
  });
});
