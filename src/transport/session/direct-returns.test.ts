import { describe, expect, it } from "vitest";
import { DirectReturns } from "./direct-returns.ts";

const FORGED = "amq.rabbitmq.reply-to.AAAA.x";
const OTHER = "amq.rabbitmq.reply-to.BBBB.y";

describe("an address of direct reply-to", () => {
  it("is not answered any more when two connections in a row were lost right after an answer to it", () => {
    const returns = new DirectReturns();
    const may: boolean[] = [];
    for (let at = 0; at < 40; at += 10) {
      returns.began(at);
      may.push(returns.mayAnswer(FORGED, at + 1));
      returns.lost(at + 2);
    }
    expect(may).toEqual([true, true, false, false]);
    expect(returns.mayAnswer(OTHER, 50)).toBe(true);
  });

  it("is answered again once a connection has stood", () => {
    const returns = new DirectReturns();
    for (const at of [0, 10]) {
      returns.began(at);
      returns.mayAnswer(FORGED, at + 1);
      returns.lost(at + 2);
    }
    returns.began(20);
    expect(returns.mayAnswer(FORGED, 30)).toBe(false);
    returns.lost(6_000);
    expect(returns.mayAnswer(FORGED, 6_010)).toBe(true);
  });

  it("is not suspected for a loss that came long after an answer, or for one between two others", () => {
    const returns = new DirectReturns();
    for (const [at, isWritten, gone] of [
      [0, true, 1_500],
      [2_000, true, 2_010],
      [2_100, false, 2_200],
      [2_300, true, 2_310],
    ] as const) {
      returns.began(at);
      if (isWritten) expect(returns.mayAnswer(FORGED, at + 1)).toBe(true);
      returns.lost(gone);
    }
    expect(returns.mayAnswer(FORGED, 2_400)).toBe(true);
  });

  it("is no queue: those are always answered", () => {
    const returns = new DirectReturns();
    for (const at of [0, 10, 20]) {
      returns.began(at);
      expect(returns.mayAnswer("amq.gen-x", at)).toBe(true);
      returns.lost(at + 1);
    }
  });
});
