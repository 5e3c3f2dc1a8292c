import { describe, expect, it, vi } from "vitest";
import type { AmqpClient, AmqpDelivery, ConsumeOptions, PublishSettled } from "../transport/amqp-client.ts";
import { type BrowseRequest, browseQueue } from "./queue-browser.ts";

const ABORTED = new Error("aborted");

/** A walk through a queue of two letters, the first of which has been returned once; the test says when the broker answers. */
function walkThroughWornLetter() {
  const steps: string[] = [];
  let consume: ConsumeOptions | undefined;
  let grant: () => void = () => undefined;
  let confirm: PublishSettled = () => undefined;
  const client = {
    inspectQueue: async () => ({ messages: 2, consumers: 0 }),
    consume: (options: ConsumeOptions) => {
      consume = options;
      const consumer = {
        cancel: async () => void steps.push("cancelled"),
        close: async () => void steps.push("closed"),
      };
      return new Promise((resolve) => {
        grant = () => resolve(consumer);
      });
    },
    publish: (_route: unknown, _message: unknown, settled: PublishSettled) => {
      steps.push("copied");
      confirm = settled;
    },
  } as unknown as AmqpClient;
  const delivery = {
    message: { body: new Uint8Array(), properties: { headers: { "x-delivery-count": 1 } } },
    redelivered: true,
    ack: () => steps.push("acknowledged"),
  } as unknown as AmqpDelivery;
  const plan: BrowseRequest = {
    queue: "q",
    prefetch: 10,
    visit: () => "stays",
    copy: ({ message }) => ({ route: { exchange: "", key: "q" }, message }),
    isCopy: () => false,
  };
  const stop = new AbortController();
  const walking = browseQueue(client, plan, stop.signal).catch((error: unknown) => error);
  return {
    steps,
    walking,
    abort: () => stop.abort(ABORTED),
    grant: () => grant(),
    deliver: () => consume?.onDelivery(delivery),
    confirm: () => confirm(),
  };
}

/** Lets all that can go on do so. */
const turn = (): Promise<void> => new Promise(setImmediate);

describe("a walk that is broken off", () => {
  it("puts back what its consumer is given, also when the consumer is granted only afterwards", async () => {
    const { steps, walking, abort, grant, deliver, confirm } = walkThroughWornLetter();
    await turn();
    abort();
    await turn();
    grant();
    deliver();
    await turn();
    confirm();
    expect(await walking).toBe(ABORTED);
    expect(steps).toEqual(["copied", "cancelled", "acknowledged", "closed"]);
  });

  it("keeps what it holds until the copy is confirmed, also by a slow broker", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    try {
      const { steps, walking, abort, grant, deliver, confirm } = walkThroughWornLetter();
      await turn();
      grant();
      deliver();
      await turn();
      abort();
      await vi.advanceTimersByTimeAsync(3_000);
      await turn(); // who waited in vain goes on a turn later
      expect(steps).toEqual(["copied", "cancelled"]);
      confirm();
      await vi.advanceTimersByTimeAsync(2_000);
      expect(await walking).toBe(ABORTED);
      expect(steps).toEqual(["copied", "cancelled", "acknowledged", "closed"]);
    } finally {
      vi.useRealTimers();
    }
  });
});
