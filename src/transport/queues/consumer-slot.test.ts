import { expect, it, vi } from "vitest";
import { fakeWire } from "../session/fake-wire.test-support.ts";
import type { Consumer } from "../wire.ts";
import { ConsumerSlot } from "./consumer-slot.ts";

const options = {
  queue: "q",
  prefetch: 1,
  onDelivery: () => undefined,
  onCancelled: () => undefined,
} as const;

function slotOn() {
  const grants: ((consumer: Consumer) => void)[] = [];
  const consume = vi.fn(() => new Promise<Consumer>((resolve) => void grants.push(resolve)));
  const slot = new ConsumerSlot(() => true);
  const close = vi.fn(async () => undefined);
  const grant = (): void => grants.shift()?.({ cancel: async () => undefined, close });
  return { slot, wire: fakeWire({ consume }), consume, grant, close };
}

it("takes one consumer for all who ask at the same time, and ends that one", async () => {
  const { slot, wire, consume, grant, close } = slotOn();
  const taken = Promise.all([slot.take(wire, options), slot.take(wire, options)]);
  grant();
  expect(await taken).toEqual([true, true]);
  expect(consume).toHaveBeenCalledTimes(1);
  await slot.close();
  expect(close).toHaveBeenCalledTimes(1);
});

it("asks again on another wire, though the first has not answered", async () => {
  const { slot, wire, consume, grant } = slotOn();
  void slot.take(wire, options);
  const next = fakeWire({
    consume: async () => ({ cancel: async () => undefined, close: async () => undefined }),
  });
  expect(await slot.take(next, options)).toBe(true);
  expect(consume).toHaveBeenCalledTimes(1);
  grant();
});
