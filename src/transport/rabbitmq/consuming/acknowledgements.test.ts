import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { PassThrough } from "node:stream";
import type { Channel, ConsumeMessage } from "amqplib";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { Acknowledgements } from "./acknowledgements.ts";

/** Of amqplib, and without types. */
interface AmqplibInside {
  readonly Connection: new (stream: PassThrough) => object;
  readonly Channel: new (
    connection: object,
  ) => {
    readonly connection: {
      readonly muxer: { readonly scheduledRead: boolean; pipeFrom(stream: PassThrough): void };
    };
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A channel as RabbitMQ keeps it: of what was delivered, each tag is settled once, also where one covers several. */
function channelOf(delivered: number, hasWaitingAnswers?: () => boolean) {
  const unsettled = new Set(Array.from({ length: delivered }, (_, n) => n + 1));
  const written: string[] = [];
  /** What the consumer has settled, and how. */
  const meant = new Map<number, "ack" | "requeue">();
  const settle = (tag: number, as: "ack" | "requeue"): void => {
    if (!unsettled.delete(tag)) throw new Error(`PRECONDITION_FAILED - unknown delivery tag ${tag}`);
    if (meant.get(tag) !== as) throw new Error(`${as} of ${tag}, which was ${meant.get(tag)}`);
  };
  const failures: unknown[] = [];
  // The class swallows what a closed channel throws.
  const attempt = (act: () => void): void => {
    try {
      act();
    } catch (error) {
      failures.push(error);
    }
  };
  const muxer = { scheduledRead: false };
  const stream = { writableCorked: 0 };
  const channel = {
    connection: { muxer, stream },
    ack: ({ fields: { deliveryTag } }: ConsumeMessage, allUpTo = false): void => {
      written.push(`ack ${deliveryTag}${allUpTo ? " and all before" : ""}`);
      const covered = [...unsettled].filter((tag) => tag < deliveryTag);
      attempt(() => settle(deliveryTag, "ack"));
      if (allUpTo) for (const tag of covered) attempt(() => settle(tag, "ack"));
    },
    reject: ({ fields: { deliveryTag } }: ConsumeMessage, requeue: boolean): void => {
      written.push(`reject ${deliveryTag}${requeue ? "" : " for good"}`);
      attempt(() => settle(deliveryTag, "requeue"));
    },
  } as unknown as Channel;
  const acknowledgements = new Acknowledgements(channel, 128, hasWaitingAnswers);
  for (const tag of unsettled) acknowledgements.delivered(tag);
  const ack = (...tags: readonly number[]): void => {
    for (const tag of tags) {
      meant.set(tag, "ack");
      acknowledgements.ack(tag);
    }
  };
  const requeue = (tag: number): void => {
    meant.set(tag, "requeue");
    acknowledgements.requeue(tag);
  };
  return { ack, requeue, acknowledgements, written, unsettled, failures, muxer, stream };
}

describe("acknowledgements of one turn", () => {
  it("go out as one, if they are all that is unsettled so far", async () => {
    const { ack, written, failures } = channelOf(9);
    ack(1, 2, 3);
    expect(written).toEqual([]);
    await turn();
    ack(5, 4, 6);
    await turn();
    expect(written).toEqual(["ack 3 and all before", "ack 6 and all before"]);
    expect(failures).toEqual([]);
  });

  it("go out as a plain one, if there is one", async () => {
    const { ack, written } = channelOf(3);
    for (const tag of [1, 2, 3]) {
      ack(tag);
      await turn();
    }
    expect(written).toEqual(["ack 1", "ack 2", "ack 3"]);
  });

  it("do not wait for the end of the turn once as many have come as in the turn before", async () => {
    const { ack, written } = channelOf(9);
    const callback = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));
    ack(1, 2);
    await callback();
    expect(written).toEqual(["ack 2 and all before"]);
    ack(3);
    await turn();
    ack(4, 5);
    await callback();
    expect(written.slice(1)).toEqual(["ack 3"]);
    ack(6);
    await callback();
    expect(written.slice(2)).toEqual(["ack 6 and all before"]);
    ack(7);
    await turn();
    expect(written.slice(3)).toEqual(["ack 7"]);
  });

  it("wait for the end of the turn as long as answers do: a process that ends in between has not lost one", async () => {
    let isWaiting = true;
    const { ack, written } = channelOf(2, () => isWaiting);
    ack(1);
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(written).toEqual([]);
    await turn();
    expect(written).toEqual([]); // the answers go out at the end of the turn, too
    await turn();
    expect(written).toEqual(["ack 1"]);
    isWaiting = false;
    ack(2);
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(written).toEqual(["ack 1", "ack 2"]);
  });

  it("wait for the end of the turn where their connection writes before then, and with it perhaps before that of the answers", async () => {
    const { ack, written, muxer, stream } = channelOf(2);
    muxer.scheduledRead = true;
    ack(1);
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(written).toEqual([]);
    await turn();
    expect(written).toEqual(["ack 1"]);
    muxer.scheduledRead = false;
    stream.writableCorked = 1;
    ack(2);
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(written).toEqual(["ack 1"]);
    await turn();
    expect(written).toEqual(["ack 1", "ack 2"]);
  });

  it("are told by amqplib whether their connection is about to write", async () => {
    const require = createRequire(import.meta.url);
    const inside = (name: string): AmqplibInside =>
      require(join(dirname(require.resolve("amqplib")), "lib", name)) as AmqplibInside;
    const { Connection } = inside("connection.js");
    const { Channel } = inside("channel_model.js");
    const { muxer } = new Channel(new Connection(new PassThrough())).connection;
    expect(muxer.scheduledRead).toBe(false);
    const written = new PassThrough();
    muxer.pipeFrom(written);
    written.write("frame");
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(muxer.scheduledRead).toBe(true);
    await turn();
    expect(muxer.scheduledRead).toBe(false);
  });

  it("go out one by one beyond one that is unsettled", async () => {
    const { ack, written, unsettled } = channelOf(6);
    ack(1, 2, 4, 6);
    await turn();
    expect(written).toEqual(["ack 2 and all before", "ack 4", "ack 6"]);
    expect([...unsettled]).toEqual([3, 5]);
  });

  it("name one of their own turn when they close a gap: the broker knows no other any more", async () => {
    const { ack, written, failures } = channelOf(6);
    ack(3, 4, 6);
    await turn();
    ack(2, 1);
    await turn();
    ack(5);
    await turn();
    expect(written).toEqual(["ack 3", "ack 4", "ack 6", "ack 2 and all before", "ack 5"]);
    expect(failures).toEqual([]);
  });

  it("are written before the turn is over when the channel is about to be closed, and not again after", async () => {
    const { ack, acknowledgements, written } = channelOf(2);
    ack(1, 2);
    acknowledgements.flush();
    expect(written).toEqual(["ack 2 and all before"]);
    acknowledgements.flush();
    await turn();
    expect(written).toHaveLength(1);
  });

  it("do not take along what is given back", async () => {
    const { ack, requeue, written, failures, unsettled } = channelOf(5);
    ack(1);
    requeue(2);
    ack(3, 4);
    await turn();
    expect(written).toEqual(["ack 1", "reject 2", "ack 4 and all before"]);
    requeue(5);
    expect([failures, unsettled.size]).toEqual([[], 0]);
  });

  it("come to nothing on a channel that is closed", async () => {
    const closed = (): never => {
      throw new Error("Channel closed");
    };
    const acknowledgements = new Acknowledgements({ ack: closed, reject: closed } as unknown as Channel, 128);
    for (const tag of [1, 2, 3, 4, 5]) acknowledgements.delivered(tag);
    for (const tag of [1, 2, 4]) acknowledgements.ack(tag);
    await turn();
    acknowledgements.requeue(3);
    acknowledgements.ack(5);
    acknowledgements.flush();
  });
});

it("settles every message once, as it was meant, in whatever order and turns that comes", async () => {
  const steps = fc.integer({ min: 1, max: 40 }).chain((count) =>
    fc.record({
      count: fc.constant(count),
      // Near their order, or anyhow.
      order: fc.oneof(
        fc.shuffledSubarray(
          Array.from({ length: count }, (_, n) => n + 1),
          { minLength: count },
        ),
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: count, maxLength: count }).map((late) =>
          late
            .map((by, n) => ({ tag: n + 1, at: n + by }))
            .toSorted((a, b) => a.at - b.at)
            .map(({ tag }) => tag),
        ),
      ),
      acts: fc.array(fc.constantFrom("ack", "ack", "ack", "requeue"), { minLength: count, maxLength: count }),
      ends: fc.array(fc.constantFrom("", "", "turn", "flush"), { minLength: count, maxLength: count }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(steps, async ({ count, order, acts, ends }) => {
      const { ack, requeue, acknowledgements, failures, unsettled, written } = channelOf(count);
      for (const [n, tag] of order.entries()) {
        if (acts[n] === "requeue") requeue(tag);
        else ack(tag);
        if (ends[n] === "turn") await turn();
        else if (ends[n] === "flush") acknowledgements.flush();
        if (ends[n] !== "") expect(unsettled.size).toBe(count - n - 1);
      }
      await turn();
      expect(failures).toEqual([]);
      expect(unsettled.size).toBe(0);
      expect(written.length).toBeLessThanOrEqual(count);
    }),
    { numRuns: 500 },
  );
});

describe("what the broker is known to have", () => {
  /** A channel that answers requests when the test says so. */
  function answering(prefetch: number) {
    const answers: (() => void)[] = [];
    const asked = vi.fn(() => new Promise<void>((resolve) => answers.push(resolve)));
    const channel = { ack: vi.fn(), reject: vi.fn(), prefetch: asked } as unknown as Channel;
    return { acknowledgements: new Acknowledgements(channel, prefetch), asked, answers };
  }

  it("is what a delivery shows that its prefetch would not have allowed otherwise", async () => {
    const { acknowledgements } = answering(3);
    for (const tag of [1, 2, 3]) acknowledgements.delivered(tag);
    const batches: number[] = [];
    for (const tag of [2, 1]) {
      batches.push(acknowledgements.ack(tag));
      await turn();
    }
    const holds = (): readonly string[] => batches.map((batch) => acknowledgements.holdOf(batch));
    expect(holds()).toEqual(["held", "held"]);
    acknowledgements.delivered(4);
    expect(holds()).toEqual(["released", "held"]);
    acknowledgements.delivered(5);
    expect(holds()).toEqual(["released", "released"]);
    acknowledgements.end();
    expect([...holds(), acknowledgements.holdOf(0)]).toEqual(["released", "released", "lost"]);
  });

  it("is what was written before the answer to a request, which is made for those who wait together", async () => {
    const { acknowledgements, asked, answers } = answering(128);
    for (const tag of [1, 2, 3]) acknowledgements.delivered(tag);
    const first = acknowledgements.ack(1);
    const waiting = [acknowledgements.taken(), acknowledgements.taken()];
    const later = acknowledgements.ack(2);
    await turn();
    expect(asked).toHaveBeenCalledTimes(1);
    answers[0]?.();
    await Promise.all(waiting);
    expect([first, later].map((batch) => acknowledgements.holdOf(batch))).toEqual(["released", "held"]);
    acknowledgements.end();
    expect(acknowledgements.holdOf(later)).toBe("lost");
    await acknowledgements.taken();
  });

  it("is asked for a second after the last acknowledgement, once, and no more when the channel is gone", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const { acknowledgements, asked, answers } = answering(128);
      acknowledgements.delivered(1);
      const batch = acknowledgements.ack(1);
      await turn();
      await vi.advanceTimersByTimeAsync(1_000);
      expect(asked).toHaveBeenCalledTimes(1);
      answers[0]?.();
      await vi.advanceTimersByTimeAsync(10_000);
      expect([asked.mock.calls.length, acknowledgements.holdOf(batch)]).toEqual([1, "released"]);
      acknowledgements.delivered(2);
      acknowledgements.ack(2);
      await turn();
      acknowledgements.end();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

it("asks once more for what was written while an earlier question was not answered", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const answers: (() => void)[] = [];
    const prefetch = (): Promise<void> => new Promise((resolve) => void answers.push(resolve));
    const channel = { ack: () => undefined, prefetch } as unknown as Channel;
    const acknowledgements = new Acknowledgements(channel, 10);
    const settle = (tag: number): number => {
      acknowledgements.delivered(tag);
      const batch = acknowledgements.ack(tag);
      acknowledgements.flush();
      return batch;
    };
    settle(1);
    await vi.advanceTimersByTimeAsync(1_000);
    const second = settle(2);
    await vi.advanceTimersByTimeAsync(1_000);
    answers.shift()?.();
    await turn();
    expect(acknowledgements.holdOf(second)).toBe("held");
    await vi.advanceTimersByTimeAsync(1_000);
    answers.shift()?.();
    await turn();
    expect(acknowledgements.holdOf(second)).toBe("released");
  } finally {
    vi.useRealTimers();
  }
});
