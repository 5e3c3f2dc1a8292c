import { expect, it } from "vitest";
import { together } from "./together.ts";

const soon = (): Promise<void> => new Promise(setImmediate);

it("resolves when the last one has", async () => {
  let done = 0;
  const one = async (): Promise<void> => {
    await soon();
    done += 1;
  };
  await together([one(), one().then(one), one()]);
  expect(done).toBe(4);
  await together([]);
});

it("rejects with the first reason, in their order, and not before all have settled", async () => {
  let isSettled = false;
  const late = async (): Promise<never> => {
    await soon();
    await soon();
    isSettled = true;
    throw new Error("the first");
  };
  await expect(together([late(), Promise.reject(new Error("the second"))])).rejects.toThrow("the first");
  expect(isSettled).toBe(true);
});
