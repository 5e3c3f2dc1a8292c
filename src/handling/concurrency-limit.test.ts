import { describe, expect, it, vi } from "vitest";
import { bodyLength } from "../protocol/codec.ts";
import type { Delivery } from "../transport/transport.ts";
import { ConcurrencyLimit } from "./concurrency-limit.ts";

function places(own: { readonly most?: number; readonly mostWaiting?: number } = {}) {
  const parts = { most: 2, mostWaiting: 100, begin: vi.fn(), refuse: vi.fn(), allow: vi.fn(), ...own };
  const all = new ConcurrencyLimit(parts);
  const arrive = (delivery: Delivery = call()) => all.admit(delivery);
  return { all, arrive, ...parts };
}

function call(bytes = 1): Delivery {
  return { size: bytes } as unknown as Delivery;
}

describe("places for calls", () => {
  it("are for so many handlers that work; the next call begins when one of them ends", () => {
    const { all, arrive, begin } = places();
    const [first, third] = [call(), call()];
    expect([arrive(first), arrive(), arrive(third)]).toEqual(["now", "now", "later"]);
    expect(begin).not.toHaveBeenCalled();
    all.leave(first);
    expect(begin).toHaveBeenCalledWith(third, expect.any(Number));
  });

  it("are measured without writing the body of a call that came together with others", () => {
    const written = vi.fn(() => new Uint8Array(1));
    const gathered = {
      properties: {},
      length: 200,
      get body() {
        return written();
      },
    };
    const { all, arrive } = places();
    const delivery = { message: gathered, size: bodyLength(gathered) } as unknown as Delivery;
    arrive(delivery);
    all.waits(true);
    arrive(delivery);
    all.leave(delivery);
    expect(written).not.toHaveBeenCalled();
  });

  it("are free while a handler waits for an answer, and are filled later than in that very call", async () => {
    const { all, arrive, begin } = places();
    for (let n = 0; n < 3; n += 1) arrive();
    all.waits(true);
    expect(begin).not.toHaveBeenCalled();
    await Promise.resolve();
    expect(begin).toHaveBeenCalledTimes(1);
  });

  it("go on at once with an answer, and take no other call before there is room again", () => {
    const { all, arrive } = places({ most: 1 });
    arrive();
    all.waits(true);
    arrive();
    all.waits(false);
    all.leave(call());
    expect(arrive()).toBe("later");
  });

  it("turn calls away while as many handlers wait as may, or while their bodies take too much", async () => {
    const few = places({ most: 1, mostWaiting: 1 });
    few.arrive();
    expect(few.arrive()).toBe("later");
    few.all.waits(true);
    await Promise.resolve();
    expect(few.refuse).toHaveBeenCalledTimes(1);
    expect(few.arrive()).toBe("never");
    expect(few.all.full).toMatch(/^1 of its handlers wait .* concurrency.waiting is 1$/);
    few.all.waits(false);
    few.all.leave(call());
    expect(few.arrive()).toBe("now");

    const large = places();
    large.arrive(call(200 * 1024 * 1024));
    large.all.waits(true);
    expect(large.arrive(call(100 * 1024 * 1024))).toBe("never");
    expect(large.all.full).toMatch(/bodies of the 1 calls in hand/);
    expect(large.arrive(call(10))).toBe("now");
  });

  it("are refilled by the broker while handlers wait: it is allowed twice as much each time, and less again afterwards", () => {
    const { all, arrive, allow } = places();
    const waiting = (count: number): void => {
      for (let n = 0; n < count; n += 1) {
        expect(arrive()).toBe("now");
        all.waits(true);
      }
    };
    waiting(1);
    expect(allow).not.toHaveBeenCalled(); // there is room for one more
    waiting(19);
    expect(allow.mock.calls).toEqual([[4], [8], [16], [32]]);
    for (let n = 0; n < 20; n += 1) {
      all.waits(false);
      all.leave(call());
    }
    expect(allow.mock.calls.slice(4)).toEqual([[16], [8], [4], [2]]);
  });

  it.each([
    { most: 1, mostWaiting: 8_192 },
    { most: 1, mostWaiting: 65_536 },
    { most: 4, mostWaiting: 65_536 },
    { most: 2_000, mostWaiting: 65_536 },
    { most: 128, mostWaiting: 8_192 },
  ])("ask the broker in eight steps at most, which are as many consumers: $most, $mostWaiting", (limits) => {
    const { all, arrive, allow } = places(limits);
    let begun = 0;
    while (arrive() !== "never") {
      begun += 1;
      all.waits(true);
    }
    expect(begun).toBe(limits.mostWaiting);
    const allowed = allow.mock.calls.map(([messages]) => messages);
    expect(allowed.length).toBeLessThanOrEqual(7);
    expect(allowed.at(-1)).toBe(limits.most + limits.mostWaiting);
    // A consumer's prefetch has 16 bits: a larger step would take two.
    const steps = allowed.map((messages, n) => messages - (allowed[n - 1] ?? limits.most));
    expect(Math.max(...steps)).toBeLessThan(65_536);
    for (; begun > 0; begun -= 1) {
      all.waits(false);
      all.leave(call());
    }
    expect(allow.mock.calls.slice(allowed.length)).toEqual(
      [...allowed.toReversed().slice(1), limits.most].map((n) => [n]),
    );
  });

  it("ask the broker for no more than may wait and work, about", () => {
    const { all, arrive, allow } = places({ most: 2, mostWaiting: 4 });
    for (let n = 0; n < 4; n += 1) {
      arrive();
      all.waits(true);
    }
    for (let n = 0; n < 10; n += 1) expect(arrive()).toBe("never");
    expect(allow.mock.calls).toEqual([[4], [6]]);
  });
});
