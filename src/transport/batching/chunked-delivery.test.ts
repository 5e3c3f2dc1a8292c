import assert from "node:assert/strict";
import { describe, it } from "vitest";
import { ChunkedDelivery } from "./chunked-delivery.ts";

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}

describe("what came together", () => {
  it("is taken at once, if it is not much", () => {
    const taken: number[] = [];
    const portions = new ChunkedDelivery<number>((item) => taken.push(item));
    portions.add(numbers(0, 32));
    portions.add([32]);
    assert.deepEqual(taken, numbers(0, 33));
  });

  it("waits with the rest until what the first portion led to has been written", async () => {
    const happened: string[] = [];
    const portions = new ChunkedDelivery<number>((item) => {
      if (item % 32 !== 0) return;
      happened.push(`took ${item}`);
      // As a call does that an answer leads to: collected in a microtask, written at the end of the turn.
      Promise.resolve().then(() => setImmediate(() => happened.push(`wrote ${item}`)));
    });
    portions.add(numbers(0, 64));
    assert.deepEqual(happened, ["took 0"]);
    await turn();
    await turn();
    await turn();
    assert.deepEqual(happened, ["took 0", "wrote 0", "took 32", "wrote 32"]);
  });

  it("keeps the order within the rest of several, each item once", async () => {
    const taken: number[] = [];
    const portions = new ChunkedDelivery<number>((item) => taken.push(item));
    portions.add(numbers(0, 40));
    portions.add(numbers(100, 140));
    assert.deepEqual(taken, [...numbers(0, 32), ...numbers(100, 132)]);
    await turn();
    await turn();
    assert.deepEqual(taken.slice(64), [...numbers(32, 40), ...numbers(132, 140)]);
  });

  it("can be asked for now, and is not taken again", async () => {
    const taken: number[] = [];
    const portions = new ChunkedDelivery<number>((item) => taken.push(item));
    portions.add(numbers(0, 40));
    portions.flush();
    assert.deepEqual(taken, numbers(0, 40));
    await turn();
    await turn();
    portions.add(numbers(40, 80));
    await turn();
    await turn();
    assert.deepEqual(taken, numbers(0, 80));
  });
});
