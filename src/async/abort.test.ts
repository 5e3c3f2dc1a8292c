import { describe, expect, it, vi } from "vitest";
import { onAbort, withinHeardMs, withinMs } from "./abort.ts";

describe("waiting on a signal", () => {
  it("takes one listener however many wait, and none when nobody does", () => {
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, "addEventListener");
    const removed = vi.spyOn(signal, "removeEventListener");
    const ends = Array.from({ length: 100 }, () => onAbort(signal, () => undefined));
    expect(added).toHaveBeenCalledTimes(1);
    for (const end of [...ends, ...ends]) end();
    expect(removed).toHaveBeenCalledTimes(1);
    onAbort(signal, () => undefined);
    expect(added).toHaveBeenCalledTimes(2);
  });

  it("calls back each who still waits, once", () => {
    const controller = new AbortController();
    const [stays, left] = [vi.fn(), vi.fn()];
    const end = onAbort(controller.signal, stays);
    onAbort(controller.signal, left)();
    controller.abort();
    end();
    expect(stays).toHaveBeenCalledTimes(1);
    expect(left).not.toHaveBeenCalled();
  });

  it("lets a callback end the wait of another", () => {
    const controller = new AbortController();
    const second = vi.fn();
    const ends: (() => void)[] = [];
    onAbort(controller.signal, () => ends[0]?.());
    ends.push(onAbort(controller.signal, second));
    controller.abort();
    expect(second).not.toHaveBeenCalled();
  });
});

/** Keeps the event loop busy: what arrives meanwhile is read only afterwards, and after the timers that are due. */
function stall(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

describe("a bound on a promise", () => {
  const late = (): Error => new Error("late");

  it("rejects with the error made for it when it is over", async () => {
    const never = new Promise<never>(() => undefined);
    await expect(withinMs(5, never, late)).rejects.toThrow("late");
    await expect(withinHeardMs(20, never, late)).rejects.toThrow("late");
  });

  it("counts what has arrived by then, though the process was too busy to read it", async () => {
    for (const within of [withinMs, withinHeardMs]) {
      const arrived = new Promise((resolve) => void setImmediate(resolve, "here"));
      const waiting = within(20, arrived, late);
      stall(60);
      expect(await waiting).toBe("here");
    }
  });

  it("does not count a stall against an answer that takes another round", async () => {
    const round = (): Promise<unknown> => new Promise((resolve) => void setTimeout(resolve, 10));
    const waiting = withinHeardMs(200, round().then(round), late);
    stall(400);
    await expect(waiting).resolves.toBeUndefined();
  });
});
