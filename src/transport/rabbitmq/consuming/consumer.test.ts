import { EventEmitter } from "node:events";
import { describe, expect, it, vi } from "vitest";
import type { Consumer } from "../../amqp-client.ts";
import type { Connection } from "../connection.ts";
import { startConsumer } from "./consumer.ts";

const turn = (): Promise<void> => new Promise(setImmediate);

/** A consumer that is asked for, on a channel whose frames the test reads. */
function asked() {
  let grant: () => void = () => undefined;
  let deliver: (message: null) => void = () => undefined;
  const channel = Object.assign(new EventEmitter(), {
    close: vi.fn(async () => undefined),
    cancel: async () => undefined,
    consume: (_queue: string, callback: (message: null) => void) => {
      deliver = callback;
      return new Promise((resolve) => {
        grant = () => resolve({ consumerTag: "t" });
      });
    },
  });
  const connection = {
    open: true,
    lost: new Promise(() => undefined),
    channel: async () => channel,
    answered: <Value>(_what: string, request: Promise<Value>): Promise<Value> => request,
    answeredOrAlive: <Value>(_what: string, request: Promise<Value>): Promise<Value> => request,
  } as unknown as Connection;
  const onCancelled = vi.fn();
  const starting = startConsumer(connection, {
    queue: "q",
    prefetch: "no-ack",
    onDelivery: () => undefined,
    onCancelled,
  });
  starting.catch(() => undefined);
  const refuse = (): void => {
    channel.emit("error", Object.assign(new Error("NOT_FOUND"), { code: 404 }));
    channel.emit("close");
  };
  return { starting, onCancelled, grant: () => grant(), cancel: () => deliver(null), refuse };
}

/** Whoever started the consumer hears of its end once: by the promise, or by the callback. */
async function heard(starting: Promise<Consumer>, onCancelled: ReturnType<typeof vi.fn>) {
  const code = await starting.then(
    () => undefined,
    (error: { readonly code: string }) => error.code,
  );
  await turn();
  return { code, calls: onCancelled.mock.calls.length };
}

describe("a consumer that ends", () => {
  it("is heard of when its channel is closed in the turn in which it is granted", async () => {
    const { starting, onCancelled, grant, refuse } = asked();
    await turn();
    grant();
    refuse();
    expect(await heard(starting, onCancelled)).toEqual({ code: "UNAVAILABLE", calls: 0 });
  });

  it("is heard of when the broker cancels it in the turn in which it is granted", async () => {
    const { starting, onCancelled, grant, cancel } = asked();
    await turn();
    grant();
    cancel();
    expect(await heard(starting, onCancelled)).toEqual({ code: "UNAVAILABLE", calls: 0 });
  });

  it("is heard of once when it ends later", async () => {
    const { starting, onCancelled, grant, cancel, refuse } = asked();
    await turn();
    grant();
    await starting;
    cancel();
    refuse();
    expect(await heard(starting, onCancelled)).toEqual({ code: undefined, calls: 1 });
  });
});
