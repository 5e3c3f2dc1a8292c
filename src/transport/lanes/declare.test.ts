import { expect, it, vi } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { declare } from "./declare.ts";
import { fakeWire } from "./fake-wire.test-support.ts";

const quorum = { name: "q", arguments: { "x-queue-type": "quorum" } };
const unavailable = new ConfluoError("UNAVAILABLE", "its home node is down or inaccessible");

it("asks again for a quorum queue that is not available for a moment, as one that is just being made", async () => {
  const declareQueue = vi.fn(async () => "q");
  declareQueue.mockRejectedValueOnce(unavailable).mockRejectedValueOnce(unavailable);
  await declare(fakeWire({ declareQueue }), quorum);
  expect(declareQueue).toHaveBeenCalledTimes(3);
});

it("gives up soon, and at once what is no question of time", async () => {
  const fails = async (error: ConfluoError, plan = quorum): Promise<number> => {
    const declareQueue = vi.fn().mockRejectedValue(error);
    await expect(declare(fakeWire({ declareQueue }), plan)).rejects.toBe(error);
    return declareQueue.mock.calls.length;
  };
  expect(await fails(unavailable)).toBe(4);
  expect(await fails(new ConfluoError("TOPOLOGY_CONFLICT", "it is another"))).toBe(1);
  expect(await fails(unavailable, { name: "q", arguments: { "x-queue-type": "classic" } })).toBe(1);
});
