import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LONGEST_RETRY_MS, ServiceError } from "../errors.ts";
import type { Envelope } from "../protocol/envelope.ts";
import { backoffMs, decide, decideAfterDeath, type Failure, levelNear, type Move } from "./outcome.ts";
import { defaultRetry } from "./policy.ts";

const envelope: Envelope = {
  kind: "send",
  isUnpublished: false,
  path: "/",
  from: "",
  messageId: "m",
  attempt: 1,
  waitMs: 0,
  unclaimedMs: 0,
  replay: "",
  deaths: 0,
  expiresMs: undefined,
  query: "",
  subscription: undefined,
  isGivenBack: false,
  noReturn: undefined,
  asksForBatches: false,
};

function moveFor(failure: Failure, changed: Partial<Envelope> = {}, heldMs = 0): Move {
  const circumstances = {
    envelope: { ...envelope, ...changed },
    heldMs,
    unhandledRetryMs: 600_000,
    random: () => 0.5,
  };
  const outcome = decide([failure], circumstances);
  if (outcome.kind !== "forward" || outcome.moves[0] === undefined) throw new Error(outcome.kind);
  return outcome.moves[0];
}

describe("a wait", () => {
  it("that an error asks for is whole quarters of a second, and never too short", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: LONGEST_RETRY_MS }), (afterMs) => {
        const move = moveFor({ error: new ServiceError("x", { retry: { afterMs } }), retry: defaultRetry });
        if (move.kind !== "retry") throw new Error(move.kind);
        expect(move.waitMs % 250).toBe(0);
        expect(move.waitMs - afterMs).toBeGreaterThanOrEqual(0);
        expect(move.waitMs - afterMs).toBeLessThan(250);
      }),
    );
  });

  it("with jitter is one of the two levels around it, right on average", () => {
    const levels = Array.from({ length: 1_000 }, (_, n) => levelNear(3_000, n / 1_000));
    expect(new Set(levels)).toEqual(new Set([2_000, 4_000]));
    expect(levels.reduce((sum, level) => sum + level, 0) / levels.length).toBeCloseTo(3_000, -1);
    expect(levelNear(0, 0.5)).toBe(250);
    expect(levelNear(2_000_000, 0.5)).toBe(2_000_000);
  });

  it("grows up to its bound, and jitter is full", () => {
    const bounds = [1, 2, 3, 20].map((failed) => backoffMs(failed, defaultRetry.backoff, 1));
    expect(bounds).toEqual([1_000, 2_000, 4_000, 256_000]);
    expect(backoffMs(5, defaultRetry.backoff, 0)).toBe(0);
  });
});

describe("what failed", () => {
  const failure: Failure = { error: new Error("no"), retry: defaultRetry };

  it("is tried again, and after the last try dead", () => {
    expect(moveFor(failure)).toMatchObject({ kind: "retry", expiresMs: undefined });
    expect(moveFor(failure, { attempt: 9 }).kind).toBe("retry");
    expect(moveFor(failure, { attempt: 10 }).kind).toBe("dead-letter");
  });

  it("is dead at once when it says so, and waits as long as it asks", () => {
    const never = new ServiceError("x", { retry: "never" });
    expect(moveFor({ ...failure, error: never }).kind).toBe("dead-letter");
    const later = new ServiceError("x", { retry: { afterMs: 30_000 } });
    expect(moveFor({ ...failure, error: later })).toMatchObject({ waitMs: 30_000 });
    expect(moveFor({ ...failure, error: later }, { attempt: 10 }).kind).toBe("dead-letter");
    expect(moveFor({ ...failure, retry: "final" }).kind).toBe("dead-letter");
  });

  it("does not outlive its expiry, of which waiting and running take their share", () => {
    const later = { ...failure, error: new ServiceError("x", { retry: { afterMs: 1_000 } }) };
    expect(moveFor(later, { expiresMs: 5_000 }, 500)).toMatchObject({ kind: "retry", expiresMs: 3_500 });
    expect(moveFor(later, { expiresMs: 1_400 }, 500).kind).toBe("dead-letter");
  });

  it("goes round without a handler until its grace is over, ever more patiently", () => {
    const levels: number[] = [];
    let unclaimedMs = 0;
    for (;;) {
      const move = moveFor({ error: new Error("nobody"), retry: "unclaimed" }, { unclaimedMs });
      if (move.kind !== "retry-unhandled") break;
      levels.push(move.waitMs);
      unclaimedMs = move.unclaimedMs;
    }
    expect(levels.slice(0, 4)).toEqual([250, 250, 250, 250]);
    expect(Math.max(...levels)).toBe(64_000);
    expect(unclaimedMs).toBeGreaterThanOrEqual(600_000);
    expect(levels.length).toBeLessThan(30);
  });
});

describe("what is decided after a death", () => {
  it("is once more after the first, and a dead letter for each subscription after the second", () => {
    expect(decideAfterDeath(envelope, ["/s1"])).toEqual({
      kind: "isolate",
      subscriptions: ["/s1"],
      deaths: 1,
    });
    const last = decideAfterDeath({ ...envelope, deaths: 1 }, ["/s1", "/s2"]);
    expect(last).toMatchObject({
      kind: "forward",
      moves: [{ failure: { subscription: "/s1" } }, { failure: { subscription: "/s2" } }],
    });
    expect(decideAfterDeath({ ...envelope, deaths: 1 }, [])).toMatchObject({
      kind: "forward",
      moves: [{ kind: "dead-letter", failure: { error: { code: "INSTANCE_LOST" } } }],
    });
  });
});
