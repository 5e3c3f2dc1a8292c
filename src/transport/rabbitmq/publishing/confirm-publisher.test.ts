import { EventEmitter } from "node:events";
import { describe, expect, it, vi } from "vitest";
import type { Message, Properties } from "../../../protocol/message.ts";
import type { Route } from "../../amqp-client.ts";
import type { Connection } from "../connection.ts";
import { ConfirmPublisher } from "./confirm-publisher.ts";
import { PublishBackpressure } from "./publish-backpressure.ts";
import { Refusals } from "./refusals.ts";

type Confirm = (error: Error | null) => void;

interface Written {
  readonly key: string;
  readonly exchange: string;
  readonly properties: Properties;
  readonly confirm: Confirm;
}

/** A confirm channel as amqplib has it: when it closes, what is unconfirmed is told so first, in order. */
class FakeChannel extends EventEmitter {
  readonly written: Written[] = [];
  readonly #confirmed = new Set<Written>();

  publish(exchange: string, key: string, _body: Buffer, properties: Properties, confirm: Confirm): boolean {
    if (key === "unwritable") throw new TypeError("Field 'correlationId' is the wrong type");
    this.written.push({ exchange, key, properties, confirm });
    return true;
  }

  get keys(): readonly string[] {
    return this.written.map(({ key }) => key);
  }

  ack(n: number): void {
    const written = this.written[n] as Written;
    this.#confirmed.add(written);
    written.confirm(null);
  }

  return(n: number): void {
    const { exchange, key, properties } = this.written[n] as Written;
    this.emit("return", { fields: { exchange, routingKey: key }, properties });
  }

  close(words?: string, code = 403): void {
    if (words !== undefined)
      this.emit("error", Object.assign(new Error(`with message "${words}"`), { code }));
    for (const written of this.written)
      if (!this.#confirmed.has(written)) written.confirm(new Error("channel closed"));
    this.emit("close");
  }
}

async function opened() {
  const channels: FakeChannel[] = [];
  const told = vi.fn();
  const connection = {
    open: true,
    giveUp: vi.fn(),
    confirmChannel: async () => {
      const channel = new FakeChannel();
      channels.push(channel);
      return channel;
    },
  };
  const pressure = new PublishBackpressure();
  const refusals = new Refusals(told);
  const publisher = new ConfirmPublisher(connection as unknown as Connection, pressure, refusals);
  await publisher.open();
  const outcomes: string[] = [];
  const publish = (key: string, properties: Properties = {}, exchange = "e"): void => {
    const name = properties.messageId ?? key;
    const message: Message = { body: Buffer.alloc(1), properties };
    const route: Route = { exchange, key };
    publisher.publish(route, message, (failure = "taken" as never) => outcomes.push(`${name} ${failure}`));
  };
  const next = async (n: number): Promise<FakeChannel> => {
    await vi.waitFor(() => expect(channels).toHaveLength(n));
    return channels[n - 1] as FakeChannel;
  };
  return {
    publisher,
    publish,
    outcomes,
    next,
    pressure,
    refusals,
    told,
    connection,
    channel: channels[0] as FakeChannel,
  };
}

const durable: Properties = { deliveryMode: 2 };
const forbidden = (key: string): string =>
  `ACCESS_REFUSED - access to topic '${key}' in exchange 'e' in vhost '/' refused for user 'u'`;

describe("of messages on a channel that the broker closes for one of them", () => {
  it("only that one fails: durable ones go out again, those before it first and alone, then those after it", async () => {
    const { publish, outcomes, next, channel, pressure, told } = await opened();
    for (const key of ["a", "b", "bad", "c", "bad", "d"]) publish(key, durable);
    channel.ack(0);
    channel.close(forbidden("bad"));
    publish("later", durable);
    expect(outcomes).toEqual(["a taken", "bad forbidden", "bad forbidden"]);
    const second = await next(2);
    expect(second.keys).toEqual(["b"]);
    publish("latest", durable);
    expect(second.keys).toEqual(["b"]);
    second.ack(0);
    expect(second.keys).toEqual(["b", "c", "d", "later", "latest"]);
    for (const n of [1, 2, 3, 4]) second.ack(n);
    expect(outcomes.slice(3)).toEqual(["b taken", "c taken", "d taken", "later taken", "latest taken"]);
    expect(pressure.progress.bytes).toBe(0);
    expect(told).toHaveBeenCalledOnce();
  });

  it("a call that was routed is not sent twice, and one that was not goes out again", async () => {
    const { publish, outcomes, next, channel } = await opened();
    publish("routed", { correlationId: "1", mandatory: true });
    publish("gone", { correlationId: "2", mandatory: true });
    publish("bad", durable);
    publish("unseen", { correlationId: "3", mandatory: true });
    channel.return(1);
    channel.close(forbidden("bad"));
    expect(outcomes).toEqual(["routed taken", "gone returned", "bad forbidden"]);
    expect((await next(2)).keys).toEqual(["unseen"]);
  });

  it("all fail for an exchange that is missing, and nothing else does", async () => {
    const { publish, outcomes, next, channel, told } = await opened();
    publish("a", durable);
    publish("b", durable, "missing");
    publish("c", durable, "missing");
    publish("d", durable);
    channel.close("NOT_FOUND - no exchange 'missing' in vhost '/'", 404);
    expect(outcomes).toEqual(["b refused", "c refused"]);
    const second = await next(2);
    second.ack(0);
    second.ack(1);
    expect(outcomes.slice(2)).toEqual(["a taken", "d taken"]);
    expect(told).not.toHaveBeenCalled();
  });

  it("is found by words that the broker has cut", async () => {
    const { publish, outcomes, channel } = await opened();
    const key = "k".repeat(250);
    for (const each of ["a", key, "kk"]) publish(each, durable);
    channel.close(`${forbidden(key).slice(0, 252)}...`);
    expect(outcomes).toEqual([`${key} forbidden`]);
  });

  it("one that is named by nobody is given up with the third channel that it was on", async () => {
    const { publish, outcomes, next, channel } = await opened();
    publish("a", durable);
    publish("b", durable);
    channel.close("PRECONDITION_FAILED - of no kind that is known", 406);
    for (const n of [2, 3]) {
      expect(outcomes).toEqual([]);
      (await next(n)).close("PRECONDITION_FAILED - of no kind that is known", 406);
    }
    expect(outcomes).toEqual(["a refused", "b refused"]);
  });

  it("what only lost its connection is told so", async () => {
    const { publish, outcomes, channel } = await opened();
    publish("a", durable);
    channel.close();
    expect(outcomes).toEqual(["a lost"]);
  });
});

it("what cannot be written fails by itself, in a later turn", async () => {
  const { publish, outcomes, channel, pressure } = await opened();
  publish("unwritable");
  publish("a");
  expect(outcomes).toEqual([]);
  channel.ack(0);
  await new Promise(setImmediate);
  expect(outcomes).toEqual(["a taken", "unwritable invalid"]);
  expect(pressure.progress.bytes).toBe(0);
});

it("two messages with one id never are under way together, so that each has its own return", async () => {
  const { publish, outcomes, channel } = await opened();
  const twin: Properties = { messageId: "twin", mandatory: true };
  for (let n = 0; n < 3; n += 1) publish("q", twin);
  publish("q", { messageId: "other", mandatory: true });
  expect(channel.written.map(({ properties }) => properties.messageId)).toEqual(["twin", "other"]);
  channel.ack(0);
  channel.return(2);
  channel.ack(2);
  channel.ack(1);
  channel.ack(3);
  expect(outcomes).toEqual(["twin taken", "twin returned", "other taken", "twin taken"]);
});

it("what waits for a channel counts as congestion", async () => {
  const { publish, channel, pressure, next } = await opened();
  channel.close();
  for (let n = 0; n < 40_000; n += 1) publish("a");
  expect(pressure.congestion).toBeDefined();
  expect((await next(2)).written).toHaveLength(40_000);
});

it("a channel that cannot be opened again costs the connection, where all begins anew", async () => {
  const { publish, outcomes, channel, connection } = await opened();
  connection.confirmChannel = () => Promise.reject(new Error("No channels left to allocate"));
  publish("bad", durable);
  publish("a", durable);
  channel.close(forbidden("bad"));
  await vi.waitFor(() => expect(outcomes).toEqual(["bad forbidden", "a lost"]));
  expect(connection.giveUp).toHaveBeenCalledOnce();
});

it("a spare channel that cannot be opened costs only what wanted it", async () => {
  const giveUp = vi.fn();
  const confirmChannel = (): Promise<never> => Promise.reject(new Error("No channels left to allocate"));
  const connection = { open: true, giveUp, confirmChannel } as unknown as Connection;
  const pressure = new PublishBackpressure();
  const spare = new ConfirmPublisher(connection, pressure, new Refusals(() => undefined), true);
  const settled = vi.fn();
  spare.publish({ exchange: "e", key: "k" }, { body: Buffer.alloc(1), properties: {} }, settled);
  await vi.waitFor(() => expect(settled).toHaveBeenCalledOnce());
  expect(settled).toHaveBeenCalledWith("refused", expect.objectContaining({ data: { limit: "channels" } }));
  expect(giveUp).not.toHaveBeenCalled();
  expect(pressure.progress.bytes).toBe(0);
});

it("a missing right is present until the broker takes the same again", async () => {
  const { publish, channel, refusals, next } = await opened();
  publish("bad", durable);
  channel.close(forbidden("bad"));
  expect(refusals.present).toMatchObject({ code: "ACCESS_REFUSED" });
  expect([refusals.has({ exchange: "e", key: "bad" }), refusals.has({ exchange: "e", key: "a" })]).toEqual([
    true,
    false,
  ]);
  publish("a", durable);
  publish("bad", durable);
  const second = await next(2);
  second.ack(0);
  expect(refusals.present).toBeDefined();
  second.ack(1);
  expect(refusals.present).toBeUndefined();
  expect(refusals.any).toBe(false);
});

it("a channel that nothing was published on for a while is closed, and opened again for the next message", async () => {
  const { publisher, publish, outcomes, next, channel } = await opened();
  const close = vi.spyOn(channel, "close");
  publish("a");
  publisher.rest();
  publisher.rest();
  await new Promise(setImmediate);
  expect(close).not.toHaveBeenCalled(); // it is not confirmed
  channel.ack(0);
  publish("b");
  channel.ack(1);
  publisher.rest();
  expect(close).not.toHaveBeenCalled(); // it was used
  publisher.rest();
  await vi.waitFor(() => expect(close).toHaveBeenCalledOnce());
  publish("c", durable);
  const second = await next(2);
  second.ack(0);
  expect(outcomes).toEqual(["a taken", "b taken", "c taken"]);
});
