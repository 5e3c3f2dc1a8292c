import { expect, it } from "vitest";
import { Crowd } from "./crowd.ts";

it("takes eight suspects in ten seconds for a few, and what comes beside them for a crowd", () => {
  const crowd = new Crowd();
  const few = (now: number): number =>
    Array.from({ length: 20 }, () => crowd.isFew(now)).filter(Boolean).length;
  expect([few(1), few(10_000), few(10_001), few(10_001)]).toEqual([8, 0, 8, 0]);
});
