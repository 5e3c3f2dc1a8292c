import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { dirname, join } from "node:path";
import { Duplex } from "node:stream";
import type { ChannelModel } from "amqplib";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { type BrokerUrl, parseBrokerUrl } from "./broker-url.ts";
import { Connection, openConnection } from "./connection.ts";

/** A connection whose broker opens channels when the test says so. */
function connected() {
  const opened: (() => void)[] = [];
  const createChannel = (): Promise<unknown> =>
    new Promise((resolve) => {
      opened.push(() => resolve(Object.assign(new EventEmitter(), { close: async () => undefined })));
    });
  const model = Object.assign(new EventEmitter(), { connection: {}, createChannel });
  return { connection: new Connection(model as unknown as ChannelModel), opened };
}

interface Answer {
  readonly request: Promise<string>;
  arrive(answer: string): void;
}

function answer(): Answer {
  let arrive: (answer: string) => void = () => undefined;
  const request = new Promise<string>((resolve) => {
    arrive = resolve;
  });
  return { request, arrive: (given) => arrive(given) };
}

describe("a broker that refuses to open the vhost", () => {
  /** Listens as a broker does, and ends the handshake of each connection with the next of these frames, then with the last. */
  async function broker(...ends: Buffer[]): Promise<{ url: BrokerUrl; attempts(): number }> {
    let attempts = 0;
    const server = createServer((socket) => {
      attempts += 1;
      const steps = [START, TUNE, ends.length > 1 ? ends.shift() : ends[0]];
      socket.on("error", () => undefined);
      socket.on("data", (bytes) => {
        // A header, start-ok, then tune-ok with open behind it, in one chunk or two.
        const isTuneOk = bytes[7] === 0 && bytes[10] === 31 && bytes.length < 30;
        const step = isTuneOk ? undefined : steps.shift();
        if (step !== undefined) socket.write(step);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    return { url: parseBrokerUrl(`amqp://127.0.0.1:${port}/v`), attempts: () => attempts };
  }
  const opening = (url: BrokerUrl): Promise<Connection> =>
    openConnection({ url, tls: undefined, name: "", timeoutMs: 2_000, signal: new AbortController().signal });

  it("is told in its words, for which it is asked once more", async () => {
    const { url, attempts } = await broker(closing("NOT_ALLOWED - vhost v not found"));
    await expect(opening(url)).rejects.toMatchObject({
      code: "ACCESS_REFUSED",
      message: expect.stringContaining("vhost v not found"),
    });
    expect(attempts()).toBe(2);
  });

  it("and opens it when it is asked for its words may be tried again", async () => {
    const { url, attempts } = await broker(closing("NOT_ALLOWED - connection limit (1) is reached"), OPENED);
    await expect(opening(url)).rejects.toMatchObject({ code: "BROKER_UNREACHABLE" });
    expect(attempts()).toBe(2);
  });
});

function frame(method: number, ...args: readonly (number | string)[]): Buffer {
  const bytes = args.map((arg) => (typeof arg === "number" ? Buffer.of(arg) : Buffer.from(arg)));
  const payload = Buffer.concat([Buffer.of(0, 10, 0, method), ...bytes]);
  return Buffer.concat([Buffer.of(1, 0, 0, 0, 0, 0, payload.length), payload, Buffer.of(0xce)]);
}

const START = frame(10, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, "PLAIN", 0, 0, 0, 5, "en_US");
const TUNE = frame(30, 0, 0, 0, 0, 0x20, 0, 0, 0);
const OPENED = frame(41, 0);
const closing = (words: string): Buffer => frame(50, 0x02, 0x12, words.length, words, 0, 10, 0, 40);

describe("a request about one queue", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("is given up when the broker answers to all else", async () => {
    const { connection, opened } = connected();
    const asking = connection.answeredOrAlive("do it", answer().request);
    const failed = expect(asking).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await vi.advanceTimersByTimeAsync(5_100);
    expect(opened).toHaveLength(1);
    opened[0]?.();
    await failed;
  });

  it("has its answer, though that comes while the broker is asked for a sign of life", async () => {
    const { connection, opened } = connected();
    const { request, arrive } = answer();
    const asking = connection.answeredOrAlive("do it", request);
    await vi.advanceTimersByTimeAsync(5_100);
    expect(opened).toHaveLength(1);
    // Read together: the answer, and the sign of life behind it.
    arrive("done");
    opened[0]?.();
    expect(await asking).toBe("done");
  });

  it("has its answer as soon as it comes, whatever else does not", async () => {
    const { connection } = connected();
    const { request, arrive } = answer();
    const asking = connection.answeredOrAlive("do it", request);
    await vi.advanceTimersByTimeAsync(5_100);
    arrive("done");
    expect(await asking).toBe("done");
  });
});

describe("the frames of amqplib's channels", () => {
  interface AmqplibConnection {
    freshChannel(channel: object): number;
    readonly channels: readonly { readonly buffer: { write(frame: Buffer): boolean } }[];
  }

  /** A socket that takes so many bytes, and more only when the test says so. */
  function socket(highWaterMark: number) {
    const written: string[] = [];
    let taken: (() => void) | undefined;
    const state = { isFull: false };
    const take = (chunks: readonly Buffer[], done: () => void): void => {
      written.push(chunks.join(""));
      if (state.isFull) taken = done;
      else done();
    };
    const stream = new Duplex({
      highWaterMark,
      read: () => undefined,
      write: (chunk: Buffer, _, done) => take([chunk], done),
      writev: (chunks, done) =>
        take(
          chunks.map(({ chunk }) => chunk as Buffer),
          done,
        ),
    });
    const drain = (): void => {
      state.isFull = false;
      taken?.();
    };
    return { stream, written, state, drain };
  }

  function channelsOn(stream: Duplex, count: number): ((frame: string) => boolean)[] {
    const require = createRequire(import.meta.url);
    const path = join(dirname(require.resolve("amqplib")), "lib", "connection.js");
    const { Connection: Amqplib } = require(path) as {
      Connection: new (stream: Duplex) => AmqplibConnection;
    };
    const amqplib = new Amqplib(stream);
    const model = Object.assign(new EventEmitter(), { connection: amqplib });
    new Connection(model as unknown as ChannelModel);
    return Array.from({ length: count }, () => {
      const number = amqplib.freshChannel({ onBufferDrain: () => undefined });
      return (frame) => amqplib.channels[number]?.buffer.write(Buffer.from(frame)) ?? false;
    });
  }

  it("are written when their callback ends, those of all channels together", async () => {
    const { stream, written } = socket(1_000);
    const [first, second] = channelsOn(stream, 2);
    for (const frame of ["a", "b"]) first?.(frame);
    second?.("c");
    first?.("d");
    expect(written).toEqual([]);
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(written).toEqual(["abcd"]);
  });

  it("keep their order in each channel while the socket is full, and the channels take turns", async () => {
    const { stream, written, state, drain } = socket(10);
    const [first, second] = channelsOn(stream, 2);
    state.isFull = true;
    first?.("0123456789");
    for (const frame of ["a1", "a2", "a3"]) first?.(frame);
    second?.("b1");
    await new Promise<void>((resolve) => setTimeout(resolve, 5));
    expect(written).toEqual(["0123456789"]);
    drain();
    await vi.waitFor(() => expect(written.join("")).toHaveLength(18));
    const rest = written.slice(1).join("");
    expect(rest.indexOf("b1")).toBeLessThan(rest.indexOf("a3"));
    expect(rest.replace("b1", "")).toBe("a1a2a3");
    first?.("a4");
    second?.("b2");
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(written.at(-1)).toBe("a4b2");
  });
});
