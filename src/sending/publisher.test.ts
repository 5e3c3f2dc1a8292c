import { expect, it, vi } from "vitest";
import { EncodedBody } from "../protocol/codec.ts";
import type { Session, Settled } from "../transport/transport.ts";
import { InFlightSet } from "./in-flight.ts";
import { PendingConfirm } from "./publisher.ts";

const LIMIT = 5;

/** A message on its way, and a link that loses its connection each time. */
function pendingOn(link: { connected: boolean; connections: number }) {
  const again = vi.fn();
  const prepared = {
    ...{ service: "", key: "e", path: "/e", contract: undefined, options: {} },
    ...{ headers: undefined, body: new EncodedBody("1"), validate: undefined },
  };
  const publisher = { inFlight: new InFlightSet<PendingConfirm>("a test"), publishLater: again };
  const pending = new PendingConfirm(prepared, publisher, {
    ms: 60_000,
    message: { body: Buffer.from("1"), properties: {} },
  });
  pending.begin(undefined);
  const rejected = vi.fn();
  pending.promise.catch(rejected);
  const publish = (_key: string, _message: unknown, settled: Settled): void => settled("lost");
  const lose = async (): Promise<void> => {
    pending.publish({ ...link, publish } as unknown as Session);
    await vi.advanceTimersByTimeAsync(100);
  };
  return { lose, again, rejected };
}

it("what was on five connections in a row that broke is given up as the likely cause", async () => {
  vi.useFakeTimers();
  const link = { connected: true, connections: 0 };
  const { lose, again, rejected } = pendingOn(link);
  for (let n = 1; n < LIMIT; n += 1) {
    link.connections = n;
    await lose();
    expect(again).toHaveBeenCalledTimes(n);
  }
  link.connections = LIMIT;
  await lose();
  expect(again).toHaveBeenCalledTimes(LIMIT - 1);
  expect(rejected).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({
      code: "CONNECTION_LOST",
      message: expect.stringContaining("5 connections in a row"),
    }),
  );
  vi.useRealTimers();
});

it("what found no connection, or the same again, goes on waiting", async () => {
  vi.useFakeTimers();
  const link = { connected: false, connections: 1 };
  const { lose, again, rejected } = pendingOn(link);
  for (let n = 0; n < 10; n += 1) await lose();
  link.connected = true;
  for (let n = 0; n < 10; n += 1) await lose();
  expect(again).toHaveBeenCalledTimes(20);
  expect(rejected).not.toHaveBeenCalled();
  vi.useRealTimers();
});
