import { describe, expect, it } from "vitest";
import { firstThenRest, mapConcurrently, settleAll } from "./concurrently.ts";

const soon = (): Promise<void> => new Promise(setImmediate);

it("resolves when the last one has", async () => {
  let done = 0;
  const one = async (): Promise<void> => {
    await soon();
    done += 1;
  };
  await settleAll([one(), one().then(one), one()]);
  expect(done).toBe(4);
  await settleAll([]);
});

it("rejects with the first reason, in their order, and not before all have settled", async () => {
  let isSettled = false;
  const late = async (): Promise<never> => {
    await soon();
    await soon();
    isSettled = true;
    throw new Error("the first");
  };
  await expect(settleAll([late(), Promise.reject(new Error("the second"))])).rejects.toThrow("the first");
  expect(isSettled).toBe(true);
});

describe("several at a time", () => {
  it("gives the results in the order of the items, with a bound on what is under way", async () => {
    let underWay = 0;
    let most = 0;
    const doubled = await mapConcurrently([1, 2, 3, 4, 5, 6, 7, 8, 9], async (item) => {
      underWay += 1;
      most = Math.max(most, underWay);
      for (let turns = item % 4; turns >= 0; turns -= 1) await soon();
      underWay -= 1;
      return item * 2;
    });
    expect(doubled).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18]);
    expect(most).toBe(4);
    expect(await mapConcurrently([], soon)).toEqual([]);
  });

  it("begins nothing after a failure, and waits for what was begun", async () => {
    const begun: number[] = [];
    let ended = 0;
    const working = mapConcurrently([1, 2, 3, 4, 5, 6], async (item) => {
      begun.push(item);
      if (item === 2) throw new Error("refused");
      await soon();
      ended += 1;
    });
    await expect(working).rejects.toThrow("refused");
    expect([begun, ended]).toEqual([[1, 2, 3, 4], 3]);
  });

  it("may begin with one alone", async () => {
    const begun: number[] = [];
    const refuse = async (item: number): Promise<void> => {
      begun.push(item);
      await soon();
      if (item === 1) throw new Error("refused");
    };
    await expect(firstThenRest([1, 2, 3], refuse)).rejects.toThrow("refused");
    expect(begun.splice(0)).toEqual([1]);
    await firstThenRest([4, 5, 6], refuse);
    expect(begun).toEqual([4, 5, 6]);
    await firstThenRest([], refuse);
  });
});
