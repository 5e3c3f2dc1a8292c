import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { checkMs } from "../options/checks.ts";
import { DeadlineScope, HandlerRun, RunningHandlers, remainingMs } from "./deadline-scope.ts";
import { startTimer, stopTimer, type TimedPromiseControls, TimeoutEntry, waitFor } from "./timed-promise.ts";

/** 200 ms of work. */
class Work extends HandlerRun<void, void> {
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
    await new Work(work).run();
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

/** Notes its name when its time has passed. */
class Noted extends TimeoutEntry {
  readonly #name: string;
  readonly #notes: string[];
  readonly #then: () => void;

  constructor(name: string, notes: string[], then: () => void = () => undefined) {
    super();
    this.#name = name;
    this.#notes = notes;
    this.#then = then;
  }

  override pass(): void {
    this.#notes.push(this.#name);
    this.#then();
  }
}

it("tells each when its time has passed, and not before", () => {
  const notes: string[] = [];
  startTimer(new Noted("a", notes), 100);
  vi.advanceTimersByTime(50);
  startTimer(new Noted("b", notes), 100);
  vi.advanceTimersByTime(49);
  expect(notes).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(notes).toEqual(["a"]);
  vi.advanceTimersByTime(49);
  expect(notes).toEqual(["a"]);
  vi.advanceTimersByTime(1);
  expect(notes).toEqual(["a", "b"]);
});

it("keeps waits of different lengths apart", () => {
  const notes: string[] = [];
  startTimer(new Noted("long", notes), 200);
  startTimer(new Noted("short", notes), 20);
  startTimer(new Noted("longer", notes), 201);
  vi.advanceTimersByTime(20);
  expect(notes).toEqual(["short"]);
  vi.advanceTimersByTime(180);
  expect(notes).toEqual(["short", "long"]);
  vi.advanceTimersByTime(1);
  expect(notes).toEqual(["short", "long", "longer"]);
});

it("needs one timer for all that wait equally long, and none when nobody waits", () => {
  const all = Array.from({ length: 1_000 }, (_, n) => new Noted(`${n}`, []));
  for (const each of all) startTimer(each, 5_000);
  expect(vi.getTimerCount()).toBe(1);
  for (const each of all) stopTimer(each);
  expect(vi.getTimerCount()).toBe(0);
});

it("is on time for who begins to wait when nobody has for a while", async () => {
  vi.useRealTimers();
  const first = new Noted("first", []);
  startTimer(first, 80);
  stopTimer(first);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const began = performance.now();
  await new Promise<void>((resolve) => startTimer(new Noted("second", [], resolve), 80));
  expect(performance.now() - began).toBeGreaterThanOrEqual(79);
});

it("waits by a test's clock that was reset and set again", () => {
  const notes: string[] = [];
  const first = new Noted("first", notes);
  startTimer(first, 1_000);
  stopTimer(first);
  vi.clearAllTimers();
  startTimer(new Noted("second", notes), 1_000);
  vi.advanceTimersByTime(1_000);
  expect(notes).toEqual(["second"]);
});

it("holds the process while somebody waits, and no longer", () => {
  vi.useRealTimers();
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  const one = new Noted("one", []);
  for (let times = 0; times < 2; times += 1) {
    startTimer(one, 60_001);
    expect(timers()).toBe(before + 1);
    stopTimer(one);
    expect(timers()).toBe(before);
  }
});

it("keeps few timers when nobody waits, of however many lengths the waits were", () => {
  vi.useRealTimers();
  const cleared = vi.spyOn(globalThis, "clearTimeout");
  const all = Array.from({ length: 1_000 }, () => new Noted("", []));
  for (const [n, each] of all.entries()) startTimer(each, 10_000 + n);
  for (const each of all) stopTimer(each);
  expect(cleared.mock.calls.length).toBeGreaterThan(900);
  cleared.mockRestore();
});

it("forgets the first, one in the middle and the last, whichever is stopped", () => {
  for (const stopped of ["a", "b", "c"]) {
    const notes: string[] = [];
    const waiting = new Map(["a", "b", "c"].map((name) => [name, new Noted(name, notes)]));
    for (const each of waiting.values()) startTimer(each, 100);
    const one = waiting.get(stopped) as Noted;
    stopTimer(one);
    stopTimer(one); // again is nothing
    vi.advanceTimersByTime(100);
    expect(notes).toEqual(["a", "b", "c"].filter((name) => name !== stopped));
  }
});

it("takes the same one again once it has passed or was stopped", () => {
  const notes: string[] = [];
  const one = new Noted("one", notes);
  startTimer(one, 10);
  stopTimer(one);
  startTimer(one, 10);
  vi.advanceTimersByTime(10);
  startTimer(one, 10);
  stopTimer(new Noted("never started", notes));
  vi.advanceTimersByTime(10);
  expect(notes).toEqual(["one", "one"]);
});

it("tells also those that stop or start others meanwhile", () => {
  const notes: string[] = [];
  const second = new Noted("second", notes);
  const third = new Noted("third", notes);
  const first = new Noted("first", notes, () => {
    stopTimer(second);
    startTimer(new Noted("late", notes), 100);
  });
  for (const each of [first, second, third]) startTimer(each, 100);
  vi.advanceTimersByTime(100);
  expect(notes).toEqual(["first", "third"]);
  vi.advanceTimersByTime(100);
  expect(notes).toEqual(["first", "third", "late"]);
});

it("tells the others soon when one fails", () => {
  const notes: string[] = [];
  const failing = new Noted("failing", notes, () => {
    throw new Error("on purpose");
  });
  startTimer(failing, 100);
  startTimer(new Noted("next", notes), 100);
  expect(() => vi.advanceTimersByTime(100)).toThrow("on purpose");
  vi.advanceTimersByTime(1);
  expect(notes).toEqual(["failing", "next"]);
});

it("does not wait by a clock that was taken away", () => {
  const notes: string[] = [];
  startTimer(new Noted("by the old clock", notes), 100);
  vi.useRealTimers();
  vi.useFakeTimers();
  startTimer(new Noted("by the new one", notes), 100);
  vi.advanceTimersByTime(100);
  expect(notes).toEqual(["by the new one"]);
});

it("lets what has arrived be read first, when the event loop has stood still meanwhile", async () => {
  vi.useRealTimers();
  const notes: string[] = [];
  const timed = new Noted("passed", notes);
  const passed = new Promise<void>((resolve) => startTimer(new Noted("other", notes, resolve), 20));
  startTimer(timed, 20);
  setImmediate(() => {
    notes.push("read");
    stopTimer(timed);
  });
  for (const end = performance.now() + 60; performance.now() < end; );
  await passed;
  expect(notes).toEqual(["read", "other"]);
});
