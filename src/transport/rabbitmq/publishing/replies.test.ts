import { EventEmitter } from "node:events";
import { expect, test, vi } from "vitest";
import type { Message } from "../../../protocol/message.ts";
import type { Connection } from "../connection.ts";
import type { ConfirmPublisher } from "./confirm-publisher.ts";
import { PublishBackpressure } from "./publish-backpressure.ts";
import { Refusals } from "./refusals.ts";
import { Replies } from "./replies.ts";

const reply = (correlationId: string, bytes = 1): Message => ({
  body: Buffer.alloc(bytes),
  properties: { correlationId },
});

class FakeChannel extends EventEmitter {
  readonly written: string[] = [];
  /** What writing a message throws, by its id. */
  readonly throwing = new Map<string, Error>();

  publish(
    _exchange: string,
    _key: string,
    _body: Buffer,
    { correlationId = "" }: Message["properties"],
  ): boolean {
    const error = this.throwing.get(correlationId);
    if (error !== undefined) throw error;
    this.written.push(correlationId);
    return true;
  }
}

function open(): {
  readonly replies: Replies;
  readonly pressure: PublishBackpressure;
  readonly channels: FakeChannel[];
  readonly opened: Promise<void>;
} {
  const channels: FakeChannel[] = [];
  const connection = {
    open: true,
    channel: async () => {
      const channel = new FakeChannel();
      channels.push(channel);
      return channel;
    },
  };
  const pressure = new PublishBackpressure();
  const replies = new Replies(connection as unknown as Connection, pressure, {
    confirmed: {} as ConfirmPublisher,
    refusals: new Refusals(() => undefined),
  });
  return { replies, pressure, channels, opened: replies.open() };
}

test("a message that cannot be written fails by itself, and those after it are written", async () => {
  const { replies, channels, opened } = open();
  await opened;
  channels[0]?.throwing.set("bad", new TypeError("Field 'correlationId' is the wrong type"));
  const failed = vi.fn();
  replies.post("q", reply("bad"), failed);
  replies.post("q", reply("good"));
  expect(channels[0]?.written).toEqual(["good"]);
  expect(failed).not.toHaveBeenCalled();
  await new Promise(setImmediate);
  expect(failed).toHaveBeenCalledExactlyOnceWith(
    "invalid",
    expect.objectContaining({ code: "INVALID_ARGUMENT" }),
  );
});

test("what comes while there is no channel counts as congestion, and goes out with the next one", async () => {
  const { replies, pressure, channels, opened } = open();
  await opened;
  channels[0]?.emit("close");
  for (let n = 0; n < 200; n += 1) replies.post("q", reply(`${n}`, 60_000));
  expect(pressure.congestion).toBeDefined();
  await vi.waitFor(() => expect(channels[1]?.written).toHaveLength(200));
  expect(pressure.progress.bytes).toBe(0);
  expect(pressure.congestion).toBeUndefined();
});

test("what comes while there is no channel has a bound", async () => {
  const { replies, pressure, channels, opened } = open();
  await opened;
  channels[0]?.emit("close");
  for (let n = 0; n < 2_000; n += 1) replies.post("q", reply(`${n}`, 60_000));
  expect(pressure.progress.bytes).toBeLessThan(17 * 1024 * 1024);
  await vi.waitFor(() => expect(channels[1]?.written.length).toBeGreaterThan(0));
  expect(channels[1]?.written.slice(0, 3)).toEqual(["0", "1", "2"]);
});
