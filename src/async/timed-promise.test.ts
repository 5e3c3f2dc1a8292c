import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { checkMs } from "../options/checks.ts";
import { DeadlineScope, RunningHandlers, remainingMs } from "./deadline-scope.ts";
import { type TimedPromiseControls, waitFor } from "./timed-promise.ts";

/** 200 ms of work. */
class Scope extends DeadlineScope<void, void> {
  override readonly correlationId = undefined;
  override readonly what = "it";
  override readonly work: () => Promise<void>;

  constructor(work: () => Promise<void>) {
    super(200, new RunningHandlers(), undefined);
    this.work = work;
  }

  override returned(): void {}
  override failed(): void {}
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("a wait", () => {
  const limits = { ms: 100, what: "something", signal: undefined };

  it("ends at its deadline, once", async () => {
    const ended = vi.fn();
    let waiter: TimedPromiseControls<number> | undefined;
    const keep = (given: TimedPromiseControls<number>): void => {
      waiter = given;
    };
    const wait = waitFor<number>(limits, keep, ended);
    const rejected = expect(wait).rejects.toMatchObject({
      code: "TIMEOUT",
      message: expect.stringContaining("100 ms"),
    });
    vi.advanceTimersByTime(100);
    await rejected;
    waiter?.resolve(1);
    expect(ended).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("ends with its value and leaves neither timer nor listener", async () => {
    const controller = new AbortController();
    const removed = vi.spyOn(controller.signal, "removeEventListener");
    await expect(
      waitFor({ ...limits, signal: controller.signal }, ({ resolve }) => resolve(7)),
    ).resolves.toBe(7);
    expect(vi.getTimerCount()).toBe(0);
    expect(removed).toHaveBeenCalled();
  });

  it("ends when its signal fires, also before it began", async () => {
    const controller = new AbortController();
    const wait = waitFor({ ...limits, signal: controller.signal }, () => undefined);
    controller.abort("why");
    await expect(wait).rejects.toMatchObject({ code: "CANCELLED", cause: "why" });
    const start = vi.fn();
    await expect(waitFor({ ...limits, signal: controller.signal }, start)).rejects.toMatchObject({
      code: "CANCELLED",
    });
    expect(start).not.toHaveBeenCalled();
  });
});

describe("a deadline", () => {
  it("is inherited by what runs within it, and by nothing that goes on afterwards", async () => {
    expect(remainingMs(500, DeadlineScope.current)).toBe(500);
    let later = 0;
    const work = async (): Promise<void> => {
      setTimeout(() => {
        later = remainingMs(500, DeadlineScope.current);
      }, 400);
      expect(remainingMs(500, DeadlineScope.current)).toBeLessThanOrEqual(200);
      expect(remainingMs(50, DeadlineScope.current)).toBe(50);
      vi.advanceTimersByTime(300);
      expect(remainingMs(500, DeadlineScope.current)).toBeLessThanOrEqual(0);
    };
    await new Scope(work).run();
    vi.advanceTimersByTime(400);
    expect(later).toBe(500);
  });

  it("is a number of milliseconds that a timer can take", () => {
    expect(checkMs("timeoutMs", 1.2)).toBe(2);
    for (const ms of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, "5", null]) {
      expect(() => checkMs("timeoutMs", ms as number)).toThrow(/timeoutMs must be a number of milliseconds/);
    }
  });
});
