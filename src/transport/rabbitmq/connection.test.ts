import { EventEmitter } from "node:events";
import type { ChannelModel } from "amqplib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Connection } from "./connection.ts";

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
