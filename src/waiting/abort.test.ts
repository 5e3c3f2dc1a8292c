import { describe, expect, it, vi } from "vitest";
import { onAbort } from "./abort.ts";

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
