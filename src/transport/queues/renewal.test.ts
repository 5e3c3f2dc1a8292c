import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConfluoError } from "../../errors.ts";
import type { AmqpClient, AmqpDelivery, ConsumeOptions } from "../amqp-client.ts";
import { fakeClient } from "../session/fake-client.test-support.ts";
import { type CallQueues, losesMarks, makeAnew, renewCallQueues } from "./renewal.ts";

interface FakeQueue {
  waiting: string[];
  readonly consumers: Set<ConsumeOptions>;
}

const canReturn = (): boolean => true;
const rabbit = (version: string) => ({ product: "RabbitMQ", version, capabilities: [] });

/** A broker with queues that wait for nobody, and a client of it that can be interrupted before each request. */
function broker(names: readonly string[] = ["calls", "batch", "again"]) {
  const queues = new Map<string, FakeQueue>();
  const make = (name: string): void => {
    if (!queues.has(name)) queues.set(name, { waiting: [], consumers: new Set() });
  };
  for (const name of names) make(name);
  const made: string[] = [];
  const asked: string[] = [];
  let before: (what: string) => unknown = () => undefined;
  const ask = async (what: string): Promise<void> => {
    asked.push(what);
    await before(what);
  };
  const client: AmqpClient = fakeClient({
    server: rabbit("3.10.8"),
    declareQueue: async ({ name }) => {
      await ask(`declare ${name}`);
      if (!queues.has(name)) made.push(name);
      make(name);
      return name;
    },
    inspectQueue: async (name) => {
      await ask(`inspect ${name}`);
      const queue = queues.get(name);
      return queue && { messages: queue.waiting.length, consumers: queue.consumers.size };
    },
    deleteQueue: async (name, when) => {
      await ask(`delete ${name} ${when}`);
      const queue = queues.get(name);
      if (queue === undefined) return 0;
      if (queue.consumers.size > 0 || queue.waiting.length > 0)
        throw new ConfluoError("TOPOLOGY_CONFLICT", "in use, or not empty");
      queues.delete(name);
      return 0;
    },
    consume: async (options) => {
      await ask(`consume ${options.queue}`);
      const queue = queues.get(options.queue);
      if (queue === undefined) throw new ConfluoError("UNAVAILABLE", "no queue");
      queue.consumers.add(options);
      for (const text of queue.waiting.splice(0, Number(options.prefetch)))
        options.onDelivery(delivery(text));
      const end = async (): Promise<void> => void queue.consumers.delete(options);
      return { cancel: end, close: end };
    },
  });
  const hold =
    (held: AmqpDelivery): (() => unknown) =>
    () =>
      queues.get("calls")?.waiting.push(new TextDecoder().decode(held.message.body));
  return {
    queues,
    made,
    asked,
    client,
    hold,
    interrupt: (step: (what: string) => unknown): void => {
      before = step;
    },
  };
}

function delivery(text: string): AmqpDelivery {
  return {
    message: { body: new TextEncoder().encode(text), properties: {} },
    exchange: "",
    queue: "calls",
    key: "calls",
    redelivered: text.startsWith("marked"),
    hold: "held",
    ack: () => undefined,
    requeue: () => undefined,
  };
}

const plan = (name: string) => ({ name, arguments: { "x-queue-type": "classic" } });

describe("a queue that may have lost its marks", () => {
  it("is made anew if it is empty and nobody consumes it", async () => {
    const { client, made } = broker();
    await makeAnew(client, plan("again"));
    expect(made).toEqual(["again"]);
  });

  it("stays while somebody consumes it, and where it is missing, nothing is made", async () => {
    const { client, queues, made, asked } = broker(["calls"]);
    await client.consume({ queue: "calls", prefetch: 1, onDelivery: () => 0, onCancelled: () => 0 });
    await makeAnew(client, plan("calls"));
    await makeAnew(client, plan("again"));
    expect(made).toEqual([]);
    expect(queues.has("again")).toBe(false);
    expect(asked.filter((what) => what.startsWith("delete"))).toEqual([]);
  });

  it("stays with what waits in it, if that cannot be put back", async () => {
    const { client, queues, made } = broker();
    queues.get("batch")?.waiting.push("a batch");
    await makeAnew(client, plan("batch"));
    expect(made).toEqual([]);
    expect(queues.get("batch")?.waiting).toEqual(["a batch"]);
  });

  it("gets back what waited in it, portion by portion, also what came meanwhile", async () => {
    const { client, queues, made, hold, interrupt } = broker();
    const names = Array.from({ length: 300 }, (_, n) => `call ${n}`);
    queues.get("calls")?.waiting.push(...names);
    let late = 2;
    interrupt((what) => {
      if (what.startsWith("delete calls") && late > 0) queues.get("calls")?.waiting.push(`late ${late--}`);
    });
    await makeAnew(client, plan("calls"), { hold, canReturn });
    await vi.waitFor(() => expect(queues.get("calls")?.consumers.size).toBe(0));
    expect(made).toEqual(["calls"]);
    expect(queues.get("calls")?.waiting).toEqual([...names, "late 2", "late 1"]);
  });

  it("gets back what waited in it if messages come without an end", async () => {
    const { client, queues, made, hold, interrupt } = broker();
    let count = 0;
    interrupt((what) => {
      if (what.startsWith("delete")) queues.get("calls")?.waiting.push(`late ${count++}`);
    });
    await makeAnew(client, plan("calls"), { hold, canReturn });
    expect(made).toEqual([]);
    await vi.waitFor(() => expect(queues.get("calls")?.waiting.length).toBe(count));
  });

  it("stays if it marks what it delivers again", async () => {
    const { client, queues, made, asked, hold } = broker();
    queues.get("calls")?.waiting.push("marked", "another");
    await makeAnew(client, plan("calls"), { hold, canReturn });
    expect(made).toEqual([]);
    expect(asked.filter((what) => what.startsWith("delete"))).toEqual([]);
    await vi.waitFor(() => expect(queues.get("calls")?.waiting).toEqual(["another"])); // as a copy, unmarked
  });

  it("stays if the session is being closed: what is in hand goes back with the end of its consumer", async () => {
    const { client, queues, made, asked, hold } = broker();
    queues.get("calls")?.waiting.push("call");
    await makeAnew(client, plan("calls"), { hold, canReturn: () => false });
    expect(made).toEqual([]);
    expect(asked.filter((what) => what.startsWith("delete"))).toEqual([]);
    await vi.waitFor(() => expect(queues.get("calls")?.consumers.size).toBe(0));
  });

  it("stays if its deletion is refused, and tells of it", async () => {
    const { client, interrupt } = broker();
    const refusal = new ConfluoError("ACCESS_REFUSED", "no right");
    interrupt((what) => {
      if (what.startsWith("delete")) throw refusal;
    });
    await expect(makeAnew(client, plan("calls"))).rejects.toBe(refusal);
  });
});

describe("instances that come back together", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function instance({ client, hold }: ReturnType<typeof broker>): {
    readonly queues: CallQueues;
    comeBack(): Promise<void>;
  } {
    let isGiven = false;
    const consume = async (queue: string): Promise<void> => {
      const options = { queue, prefetch: 1, onDelivery: () => undefined, onCancelled: () => undefined };
      // As a session does: a queue that another instance has deleted in between is declared again.
      for (let isTaken = false; !isTaken; ) {
        await client.declareQueue(plan(queue));
        isTaken = await client.consume(options).then(
          () => true,
          () => false,
        );
      }
    };
    const queues: CallQueues = {
      calls: plan("calls"),
      batches: plan("batch"),
      again: plan("again"),
      hold,
      canReturn,
      giveSign: async () => {
        await consume("again");
        isGiven = true;
      },
      isSignGiven: () => isGiven,
    };
    const comeBack = async (): Promise<void> => {
      if ((await client.inspectQueue("calls"))?.consumers === 0) await renewCallQueues(client, queues);
      await consume("calls");
    };
    return { queues, comeBack };
  }

  it("make each queue anew once, whoever is first, and all consume them", async () => {
    for (const apartMs of [0, 1, 5, 20, 100]) {
      const rig = broker();
      rig.interrupt(() => new Promise((resolve) => setTimeout(resolve, 1 + 2 * Math.random())));
      const coming = Array.from({ length: 8 }, async (_, n) => {
        await new Promise((resolve) => setTimeout(resolve, n * apartMs));
        await instance(rig).comeBack();
      });
      await vi.advanceTimersByTimeAsync(5_000);
      await Promise.all(coming);
      expect(rig.queues.get("calls")?.consumers.size, `${apartMs} ms apart`).toBe(8);
      const count = (name: string): number => rig.made.filter((made) => made === name).length;
      expect([count("calls") > 0, count("batch") > 0, count("again") > 0]).toEqual([true, true, true]);
      if (apartMs >= 20) expect([count("calls"), count("batch"), count("again")]).toEqual([1, 1, 1]);
    }
  });

  it("touch nothing where others take calls already", async () => {
    const rig = broker();
    await rig.client.consume({
      queue: "calls",
      prefetch: 1,
      onDelivery: () => undefined,
      onCancelled: () => undefined,
    });
    await instance(rig).comeBack();
    expect(rig.made).toEqual([]);
    expect(rig.queues.get("again")?.consumers.size).toBe(0);
  });
});

it("marks are lost on RabbitMQ before 4.3, and nowhere else", () => {
  const versions = ["3.10.8", "3.13.7", "4.0.5", "4.2.6", "4.3.6", "4.10.0", "5.0.0", ""];
  expect(versions.map((version) => losesMarks(rabbit(version)))).toEqual([
    ...[true, true, true, true],
    ...[false, false, false, false],
  ]);
  expect(losesMarks({ product: "confluo", version: "0.1.0", capabilities: [] })).toBe(false);
});
