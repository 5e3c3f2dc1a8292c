import { beforeEach, describe, expect, it, vi } from "vitest";
import { ConfluoError } from "../errors.ts";
import { mergeDurations, quantile, Tally } from "./tally.ts";

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
    const tally = new Tally();
    for (let n = 0; n < 5; n += 1) tally.began();
    tally.succeeded(ago(1));
    tally.failed(ago(2), new Error("first line\nsecond line"));
    tally.refused(ago(3), new ConfluoError("INVALID_INPUT", "not so"));
    tally.abandoned();
    tally.retried();
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
    const tally = new Tally();
    tally.began();
    tally.failed(ago(1), new ConfluoError("TIMEOUT", "x".repeat(1_000)));
    const { lastError } = tally.read();
    expect(lastError?.code).toBe("TIMEOUT");
    expect(lastError?.message.length).toBeLessThanOrEqual(201);
  });

  it("says nothing of what has not happened", () => {
    expect(new Tally().read()).toEqual({
      handled: 0,
      refused: 0,
      failed: 0,
      retried: 0,
      deadLettered: 0,
      inFlight: 0,
      durations: [],
    });
  });

  it.each([0, 0.001, 0.0149, 0.016, 0.5, 1, 7.3, 999, 60_000, 3_600_000, 2_000_000_000, -5])(
    "knows a duration of %s ms to an eighth",
    (ms) => {
      const tally = new Tally();
      tally.began();
      tally.succeeded(ago(ms));
      const [[upTo, count] = [0, 0]] = tally.read().durations;
      expect(count).toBe(1);
      const known = Math.min(Math.max(0, Math.round(ms * 1_000)), 2 ** 31 - 1) / 1_000;
      expect(upTo).toBeGreaterThanOrEqual(known);
      expect(upTo).toBeLessThanOrEqual(known * 1.125 + 0.001);
    },
  );

  it("keeps the order of durations", () => {
    const tally = new Tally();
    let last = 0;
    for (let us = 1; us < 2 ** 30; us = Math.ceil(us * 1.05)) {
      tally.began();
      tally.succeeded(ago(us / 1_000));
    }
    for (const [upTo] of tally.read().durations) {
      expect(upTo).toBeGreaterThan(last);
      last = upTo;
    }
  });
});

describe("durations", () => {
  it("of several instances add up", () => {
    expect(
      mergeDurations([
        [
          [1, 2],
          [4, 1],
        ],
        [],
        [
          [0.5, 1],
          [4, 3],
        ],
      ]),
    ).toEqual([
      [0.5, 1],
      [1, 2],
      [4, 4],
    ]);
  });

  it("tell within what a share of runs stayed", () => {
    const durations = [
      [1, 50],
      [10, 45],
      [100, 5],
    ] as const;
    expect([0.5, 0.95, 0.99, 1].map((share) => quantile(durations, share))).toEqual([1, 10, 100, 100]);
    expect(quantile([], 0.5)).toBeUndefined();
  });
});
