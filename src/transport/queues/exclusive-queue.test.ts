import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient, ConsumeOptions } from "../amqp-client.ts";
import { AmqpSession, type SessionHost } from "../session/amqp-session.ts";
import { fakeClient, fakeMember } from "../session/fake-client.test-support.ts";
import { DelayLevels } from "./delay-levels.ts";

const unavailable = (): ConfluoError => new ConfluoError("UNAVAILABLE", "no answer");
const granted = { cancel: async () => undefined, close: async () => undefined };

/** A broker that names queues, keeps them, and can lose them. */
function brokerOfQueues(own: Partial<AmqpClient> = {}) {
  const queues = new Set<string>();
  const bindings: string[] = [];
  const consumers = new Map<string, ConsumeOptions>();
  let count = 0;
  const client = fakeClient({
    declareQueue: async ({ name }) => {
      count += 1;
      const queue = name || `amq.gen-${count}`;
      queues.add(queue);
      return queue;
    },
    bind: async (queue, exchange, key) => void bindings.push(`${queue} ${exchange} ${key}`),
    inspectQueue: async (name) => (queues.has(name) ? { messages: 0, consumers: 1 } : undefined),
    deleteQueue: async (name) => Number(queues.delete(name)),
    consume: async (options) => {
      if (!queues.has(options.queue)) throw unavailable();
      consumers.set(options.queue, options);
      return { ...granted, close: async () => void consumers.delete(options.queue) };
    },
    ...own,
  });
  const warn = vi.fn();
  const namespace = new Namespace("confluo");
  const host: { client: AmqpClient | undefined } & Omit<SessionHost, "client"> = {
    namespace,
    levels: new DelayLevels(namespace),
    client,
    connections: 1,
    declareShared: async () => undefined,
    newId: () => "id",
    warn,
    leave: async () => undefined,
  };
  const isOwn = (queue: string): boolean => queue.startsWith("amq.gen-");
  const lose = (): void => {
    for (const queue of [...queues].filter(isOwn)) queues.delete(queue);
  };
  const consumed = (): string[] => [...consumers.keys()].filter(isOwn);
  return { host, queues, bindings, consumers, warn, lose, consumed };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("the queues of an instance alone", () => {
  it("are made again when the broker has lost them without a word, and that is said", async () => {
    const { host, bindings, warn, lose, consumed } = brokerOfQueues();
    const session = new AmqpSession(host, fakeMember({ onQuestion: () => undefined }));
    await session.openReplies();
    await session.bind(["a.b"], "instance");
    await session.openQuestions();
    const [before, replyTo] = [consumed(), session.replyTo];
    expect(before).toHaveLength(3);
    lose();
    await vi.advanceTimersByTimeAsync(40_000);
    expect(warn.mock.calls.filter(([, message]) => /is gone/.test(message))).toHaveLength(3);
    expect(consumed()).toHaveLength(3);
    expect(consumed().filter((queue) => before.includes(queue))).toEqual([]);
    expect(session.replyTo).not.toBe(replyTo);
    expect(consumed()).toContain(session.replyTo);
    expect(bindings.filter((binding) => binding.endsWith(" confluo.events a.b"))).toHaveLength(2);
    await session.close();
  });

  it("are looked for when a call got no answer, and missing until they are there again", async () => {
    let refuse = false;
    const names = ["q1", "q2"];
    const { host, queues, warn } = brokerOfQueues({
      declareQueue: async () => {
        if (refuse) throw unavailable();
        const name = names.shift() ?? "";
        queues.add(name);
        return name;
      },
    });
    const session = new AmqpSession(host, fakeMember());
    await session.openReplies();
    expect(session.replyTo).toBe("q1");
    queues.clear();
    refuse = true;
    session.lookForQueues();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(warn).toHaveBeenCalled();
    expect(session.replyTo).toBe("");
    expect(session.detached).toEqual(["replies to this instance"]);
    refuse = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(session.detached).toEqual([]);
    expect(session.replyTo).toBe("q2");
    await session.close();
  });

  it("are not gone because the broker refuses to say, nor because it does not answer", async () => {
    for (const code of ["ACCESS_REFUSED", "UNAVAILABLE"] as const) {
      const inspectQueue = vi.fn(async () => Promise.reject(new ConfluoError(code, "no")));
      const { host, consumed } = brokerOfQueues({ inspectQueue });
      const session = new AmqpSession(host, fakeMember());
      await session.openReplies();
      const before = consumed();
      await vi.advanceTimersByTimeAsync(200_000);
      expect(consumed()).toEqual(before);
      expect(session.detached).toEqual([]);
      // What is refused is not asked for again.
      if (code === "ACCESS_REFUSED") expect(inspectQueue).toHaveBeenCalledTimes(1);
      else expect(inspectQueue.mock.calls.length).toBeGreaterThan(3);
      await session.close();
    }
  });

  it("are not looked for when there are none, nor when the link is closed or the wire is gone", async () => {
    const inspectQueue = vi.fn(async () => undefined);
    const { host } = brokerOfQueues({ inspectQueue });
    const session = new AmqpSession(host, fakeMember());
    await session.serve();
    session.lookForQueues();
    await vi.advanceTimersByTimeAsync(100_000);
    await session.openReplies();
    host.client = undefined;
    session.forget();
    session.lookForQueues();
    await vi.advanceTimersByTimeAsync(100_000);
    await session.close();
    expect(inspectQueue).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("have another name at each attempt: one that was not consumed may be gone", async () => {
    const asked: string[] = [];
    let silent = true;
    const { host, queues } = brokerOfQueues({
      consume: async ({ queue }) => {
        asked.push(queue);
        // As a queue that deletes itself with its last consumer, when the consumer is given up.
        if (silent) queues.delete(queue);
        if (!queues.has(queue)) throw unavailable();
        return granted;
      },
    });
    const session = new AmqpSession(host, fakeMember({ onQuestion: () => undefined }));
    await expect(session.openReplies()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(session.bind(["a"], "instance")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await session.openQuestions();
    silent = false;
    await session.openReplies();
    await session.bind(["a"], "instance");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(session.detached).toEqual([]);
    expect(new Set(asked).size).toBe(asked.length);
    expect(queues.size).toBeGreaterThan(0);
    await session.close();
  });
});

describe("a consumer", () => {
  it("that ends before it is granted is attached again, and ends nothing else", async () => {
    const ended = new Set<string>();
    const { host, consumed } = brokerOfQueues();
    const { client } = host;
    host.client = fakeClient({
      ...client,
      consume: async (options) => {
        const consumer = await (client as AmqpClient).consume(options);
        const place = options.queue.startsWith("amq.gen-") ? "own" : options.queue;
        if (!ended.has(place)) options.onCancelled(unavailable());
        ended.add(place);
        return consumer;
      },
    });
    const session = new AmqpSession(host, fakeMember());
    await session.openReplies().catch(() => undefined);
    await session.serve().catch(() => undefined);
    await session.serve();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(session.detached).toEqual([]);
    expect(consumed()).toContain(session.replyTo);
    await session.close();
  });
});

describe("what comes back on a new wire", () => {
  it("does not wait for what does not answer", async () => {
    const never = new Promise<never>(() => undefined);
    const { host } = brokerOfQueues();
    const session = new AmqpSession(host, fakeMember({ onQuestion: () => undefined }));
    await session.openReplies();
    await session.bind(["a"], "instance");
    await session.serve();
    await session.openQuestions();
    session.forget();
    // One that answers for shared queues alone; and one that answers for all but those.
    const shared = brokerOfQueues();
    host.client = fakeClient({
      ...shared.host.client,
      declareQueue: async (spec) =>
        spec.name === "" ? never : (shared.host.client as AmqpClient).declareQueue(spec),
    });
    void session.restore();
    await vi.advanceTimersByTimeAsync(100);
    expect(session.detached).toEqual(["events of this instance", "replies to this instance", "binding of a"]);
    session.forget();
    const own = brokerOfQueues();
    host.client = fakeClient({
      ...own.host.client,
      declareQueue: async (spec) =>
        spec.name === "" ? (own.host.client as AmqpClient).declareQueue(spec) : never,
    });
    void session.restore();
    await vi.advanceTimersByTimeAsync(100);
    expect(session.replyTo).not.toBe("");
    expect(session.detached.filter((name) => !name.startsWith("confluo.s."))).toEqual([]);
    const closing = session.close();
    await vi.advanceTimersByTimeAsync(1_000);
    await closing;
  });

  it("is all that can be had: what is not available is tried again by itself", async () => {
    let down = false;
    const { host } = brokerOfQueues();
    const { client } = host;
    host.client = fakeClient({
      ...client,
      declareQueue: async (spec) => {
        if (down && spec.name === "") throw unavailable();
        return (client as AmqpClient).declareQueue(spec);
      },
    });
    const session = new AmqpSession(host, fakeMember());
    await session.openReplies();
    await session.serve();
    session.forget();
    down = true;
    await session.restore();
    expect(session.detached).toEqual(["replies to this instance"]);
    down = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(session.detached).toEqual([]);
    await session.close();
  });
});
