import { beforeEach, describe, expect, it, vi } from "vitest";
import { ConfluoError } from "../errors.ts";
import { DueTimes, HandlerStatsRecorder } from "./handler-stats.ts";

// Any moment will do; a whole number leaves the durations exact.
const NOW = 2 ** 40;

function ago(ms: number): number {
  return NOW - ms;
}

beforeEach(() => {
  vi.spyOn(performance, "now").mockReturnValue(NOW);
});

describe("a tally", () => {
  it("counts what ended, how, and what is under way", () => {
    const tally = new HandlerStatsRecorder();
    for (let n = 0; n < 5; n += 1) tally.began();
    tally.succeeded(ago(1), "web");
    tally.failed(ago(2), "web", new Error("first line\nsecond line"));
    tally.refused(ago(3), "web", new ConfluoError("INVALID_INPUT", "not so"));
    tally.abandoned();
    tally.retried(4_000);
    tally.deadLettered();
    const read = tally.read();
    expect(read).toMatchObject({
      handled: 1,
      refused: 1,
      failed: 1,
      retried: 1,
      deadLettered: 1,
      inFlight: 1,
    });
    expect(read.lastError).toMatchObject({ code: "HANDLER_FAILED", message: "first line" });
    expect(read.lastRefusal).toMatchObject({ code: "INVALID_INPUT", message: "not so" });
    expect(Date.parse(read.lastError?.at ?? "")).toBeGreaterThan(0);
  });

  it("names the code of an error of ours, and cuts a long message", () => {
    const tally = new HandlerStatsRecorder();
    tally.began();
    tally.failed(ago(1), "web", new ConfluoError("TIMEOUT", "x".repeat(1_000)));
    const { lastError } = tally.read();
    expect(lastError?.code).toBe("TIMEOUT");
    expect(lastError?.message.length).toBeLessThanOrEqual(201);
  });

  it("says nothing of what has not happened", () => {
    expect(new HandlerStatsRecorder().read()).toEqual({
      handled: 0,
      refused: 0,
      failed: 0,
      retried: 0,
      deadLettered: 0,
      inFlight: 0,
      waiting: 0,
      durations: [],
      recent: { ms: 1_000, handled: 0, refused: 0, failed: 0, durations: [] },
      senders: [],
    });
  });

  it("tells senders apart as far as there is room, and those with a name that could be one", () => {
    const tally = new HandlerStatsRecorder();
    const senders = Array.from({ length: 40 }, (_, n) => `s${n}`);
    for (const from of ["web", "", "no name", ...senders, "web"]) {
      tally.began();
      tally.succeeded(ago(1), from);
    }
    tally.began();
    tally.failed(ago(1), "s3", new Error("no"));
    const read = tally.read().senders;
    expect(read).toHaveLength(33);
    expect(read[0]).toEqual({ service: "web", handled: 2, refused: 0, failed: 0 });
    expect(read.find(({ service }) => service === "s3")).toMatchObject({ handled: 1, failed: 1 });
    expect(read.at(-1)).toEqual({ handled: 11, refused: 0, failed: 0 });
    expect(read.reduce((sum, { handled, failed }) => sum + handled + failed, 0)).toBe(45);
  });

  it.each([0, 0.001, 0.0149, 0.016, 0.5, 1, 7.3, 999, 60_000, 3_600_000, 2_000_000_000, -5])(
    "knows a duration of %s ms to an eighth",
    (ms) => {
      const tally = new HandlerStatsRecorder();
      tally.began();
      tally.succeeded(ago(ms), "web");
      const [[upTo, count] = [0, 0]] = tally.read().durations;
      expect(count).toBe(1);
      const known = Math.min(Math.max(0, Math.round(ms * 1_000)), 2 ** 31 - 1) / 1_000;
      expect(upTo).toBeGreaterThanOrEqual(known);
      expect(upTo).toBeLessThanOrEqual(known * 1.125 + 0.001);
    },
  );

  it("keeps the order of durations", () => {
    const tally = new HandlerStatsRecorder();
    let last = 0;
    for (let us = 1; us < 2 ** 30; us = Math.ceil(us * 1.05)) {
      tally.began();
      tally.succeeded(ago(us / 1_000), "web");
    }
    for (const [upTo] of tally.read().durations) {
      expect(upTo).toBeGreaterThan(last);
      last = upTo;
    }
  });
});

describe("the last seconds", () => {
  let now = 0;

  beforeEach(() => {
    now = 1_000_000;
    vi.spyOn(performance, "now").mockImplementation(() => now);
  });

  function add(recent: HandlerStatsRecorder, ms: number): void {
    recent.began();
    recent.succeeded(now - ms, "web");
  }

  it("forget what ended before them, and say how long they are", () => {
    const recent = new HandlerStatsRecorder();
    for (let second = 0; second < 60; second += 1) {
      for (let n = 0; n < 10; n += 1) add(recent, second < 40 ? 1_000 : 1);
      now += 1_000;
    }
    const { ms, handled, durations } = recent.read().recent;
    expect(ms).toBeGreaterThanOrEqual(5_000);
    expect(ms).toBeLessThanOrEqual(10_000);
    expect((handled / ms) * 1_000).toBeCloseTo(10, 5);
    expect(durations).toEqual([[expect.closeTo(1, 0), handled]]);
  });

  it("are empty after a pause, also one of many slots, without anything that ends meanwhile", () => {
    for (const pause of [10_000, 15_000, 3_600_000]) {
      const recent = new HandlerStatsRecorder();
      now += 60_000;
      add(recent, 1);
      expect(recent.read().recent).toMatchObject({ handled: 1, refused: 0, failed: 0 });
      now += pause;
      expect(recent.read().recent).toMatchObject({ handled: 0, durations: [] });
      add(recent, 1);
      expect(recent.read().recent).toMatchObject({ handled: 1 });
    }
  });

  it("are fewer while all of it is younger, and no less than one", () => {
    const recent = new HandlerStatsRecorder();
    add(recent, 1);
    expect(recent.read().recent.ms).toBe(1_000);
    now += 3_000;
    expect(recent.read().recent.ms).toBe(3_000);
  });
});

describe("waits", () => {
  let now = 0;

  beforeEach(() => {
    now = 12_345;
    vi.spyOn(performance, "now").mockImplementation(() => now);
  });

  it.each([1, 250, 4_000, 60_000, 1_024_000, 2_147_483_647])(
    "counts a wait of %s ms until it is over",
    (ms) => {
      const due = new DueTimes();
      due.add(ms);
      now += ms - 1;
      expect(due.count).toBe(1);
      now += Math.max(251, ms / 8);
      expect(due.count).toBe(0);
    },
  );

  it("counts many", () => {
    const due = new DueTimes();
    for (let n = 0; n < 20_000; n += 1) {
      due.add(n % 2 === 0 ? 1_000 : 1_000_000);
      now += 5;
    }
    expect(due.count).toBeGreaterThanOrEqual(10_000 + 100);
    expect(due.count).toBeLessThan(10_000 + 130);
  });
});
