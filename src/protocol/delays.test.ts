import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  delayRoute,
  highestLevel,
  LONGEST_PASS_MS,
  levelExchanges,
  levelMs,
  levelQueues,
  levelsOf,
  passOf,
  returnQueueOf,
} from "./delays.ts";
import { anyDigits, LEVELS, Namespace } from "./topology.ts";

const namespace = new Namespace("confluo");
const delayKey = (quarters: number, queue: string): string => delayRoute(namespace, quarters, queue).key;

describe("a pass", () => {
  it("is never shorter than the wait, and less than a quarter of a second longer", () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: LONGEST_PASS_MS, noNaN: true }), (waitMs) => {
        const { quarters, restMs } = passOf(waitMs);
        const passMs = levelsOf(quarters).reduce((sum, level) => sum + levelMs(level), 0);
        expect(passMs).toBe(quarters * 250);
        expect(restMs).toBe(0);
        expect(passMs - waitMs).toBeGreaterThanOrEqual(0);
        expect(passMs - waitMs).toBeLessThan(250);
      }),
    );
  });

  it("is as short as the shortest level, and as long as all of them", () => {
    expect([0, -5, 1, 250, 251].map((ms) => passOf(ms).quarters)).toEqual([1, 1, 1, 1, 2]);
    expect(Math.floor(LONGEST_PASS_MS / 86_400_000)).toBe(194);
    expect(passOf(LONGEST_PASS_MS)).toEqual({ quarters: 2 ** 26 - 1, restMs: 0 });
    expect(passOf(LONGEST_PASS_MS + 0.5)).toEqual({ quarters: 2 ** 26 - 1, restMs: 1 });
    expect(passOf(3 * LONGEST_PASS_MS)).toEqual({ quarters: 2 ** 26 - 1, restMs: 2 * LONGEST_PASS_MS });
  });

  it("begins in the level of its highest digit", () => {
    expect([1, 2, 3, 4, 5, 2 ** 26 - 1].map(highestLevel)).toEqual([0, 1, 1, 2, 2, 25]);
    expect(levelsOf(5)).toEqual([0, 2]);
    expect(delayRoute(namespace, 5, "q").exchange).toBe("confluo.wait.2");
  });
});

describe("the key of a message that waits", () => {
  it("is its digits and the queue that it returns to", () => {
    expect(delayKey(5, "confluo.orders.inbox")).toBe(`${"0.".repeat(23)}1.0.1.confluo.orders.inbox`);
    expect(delayKey(2 ** 25, "q")).toBe(`1.${"0.".repeat(25)}q`);
  });

  it("names that queue, and without digits it is that queue", () => {
    for (const queue of ["confluo.orders.inbox", "0.1.inbox", "q"]) {
      expect(returnQueueOf(delayKey(1_234_567, queue))).toBe(queue);
      expect(returnQueueOf(queue)).toBe(queue);
    }
  });

  it("has as many words before the name as its bindings skip", () => {
    expect(anyDigits.split(".")).toHaveLength(LEVELS + 1);
    const all = 2 ** LEVELS - 1;
    const keys = levelQueues(namespace, all).map(({ bindings = [] }) => bindings.map(({ key }) => key));
    expect(keys.slice(-2)).toEqual([["*.1.#"], ["1.#"]]);
    expect(levelExchanges(namespace, all).at(-1)?.passesTo?.key).toBe("0.#");
  });

  it("fits 255 bytes for the longest names", () => {
    const longest = `${"n".repeat(60)}.${"s".repeat(120)}.inbox.01234567.again`;
    expect(Buffer.byteLength(delayKey(1, longest))).toBe(254);
  });
});
