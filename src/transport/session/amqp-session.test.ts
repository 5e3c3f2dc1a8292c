import { expect, it, type Mock, vi } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { header } from "../../protocol/codec.ts";
import { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient, AmqpDelivery, ConsumeOptions, Consumer, PublishFailure } from "../amqp-client.ts";
import { DelayLevels } from "../queues/delay-levels.ts";
import { AmqpSession, type SessionHost } from "./amqp-session.ts";
import { fakeClient, fakeMember } from "./fake-client.test-support.ts";

function hostOf(client: AmqpClient): { client: AmqpClient | undefined } & Omit<SessionHost, "client"> {
  const namespace = new Namespace("confluo");
  return {
    connections: 1,
    namespace,
    levels: new DelayLevels(namespace),
    client,
    declareShared: async () => undefined,
    newId: () => "id",
    warn: () => undefined,
    leave: async () => undefined,
  };
}

it("ends consumers that the broker granted only after the link was closed", async () => {
  const grants: ((consumer: Consumer) => void)[] = [];
  const client = fakeClient({ consume: () => new Promise((resolve) => void grants.push(resolve)) });
  const session = new AmqpSession(hostOf(client), fakeMember());
  const serving = session.serve();
  await vi.waitFor(() => expect(grants).toHaveLength(3));
  const closing = session.close();
  const close = vi.fn(async () => undefined);
  for (const grant of grants) grant({ cancel: async () => undefined, close });
  await Promise.all([serving, closing]);
  expect(close).toHaveBeenCalledTimes(3);
});

it("takes the other consumers along when one cannot be had, and asks only for what it lacks again", async () => {
  const asked: string[] = [];
  let refuse = true;
  const client = fakeClient({
    consume: async ({ queue }) => {
      asked.push(queue);
      if (refuse && queue.endsWith(".calls")) throw new Error("refused");
      return { cancel: async () => undefined, close: async () => undefined };
    },
  });
  const session = new AmqpSession(hostOf(client), fakeMember());
  await expect(session.serve()).rejects.toThrow("refused");
  expect(asked).toHaveLength(3);
  refuse = false;
  await session.serve();
  expect(asked.slice(3)).toEqual(["confluo.s.calls", "confluo.s.calls.again"]);
});

it("makes a calls queue anew that can be neither declared nor consumed, and no other", async () => {
  const unavailable = (): never => {
    throw new ConfluoError("UNAVAILABLE", "its node is down");
  };
  const steps: string[] = [];
  let down = new Set(["confluo.s.calls"]);
  const client = fakeClient({
    declareQueue: async ({ name }) => {
      if (down.has(name)) unavailable();
      steps.push(`declare ${name}`);
      return name;
    },
    deleteQueue: async (name) => {
      steps.push(`delete ${name}`);
      down.delete(name);
      return 0;
    },
    consume: async ({ queue }) => {
      if (down.has(queue)) unavailable();
      steps.push(`consume ${queue}`);
      return { cancel: async () => undefined, close: async () => undefined };
    },
  });
  const host = hostOf(client);
  const session = new AmqpSession(host, fakeMember());
  await session.serve();
  expect(steps).toContain("delete confluo.s.calls");
  expect(steps).toContain("consume confluo.s.calls");
  expect(steps.filter((step) => step.startsWith("delete"))).toHaveLength(1);
  // It is gone between the declare and the consume.
  const late = new AmqpSession(
    hostOf(fakeClient({ ...client, declareQueue: async ({ name }) => name })),
    fakeMember(),
  );
  down = new Set(["confluo.s.calls.again"]);
  await late.serve();
  expect(steps).toContain("delete confluo.s.calls.again");
  // What lies on several nodes is never deleted.
  down = new Set(["confluo.s.inbox"]);
  await expect(new AmqpSession(host, fakeMember()).serve()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(steps).not.toContain("delete confluo.s.inbox");
});

it("makes its queues for calls anew when it comes to an older RabbitMQ, or comes back after a stop of it, and at no other time", async () => {
  vi.useFakeTimers();
  try {
    const anew = ["calls.again", "calls.batch", "calls"].map((name) => `confluo.s.${name} unused and empty`);
    const deletionsAfter = async (awayMs: number, version: string): Promise<readonly string[]> => {
      const deleted: string[] = [];
      const client = fakeClient({
        server: { product: "RabbitMQ", version, capabilities: [] },
        inspectQueue: async () => ({ messages: 0, consumers: 0 }),
        deleteQueue: async (name, when) => deleted.push(`${name} ${when}`),
      });
      const host = hostOf(client);
      const session = new AmqpSession(host, fakeMember());
      await session.serve();
      expect(deleted.splice(0)).toEqual(version === "4.3.6" ? [] : anew);
      session.forget();
      await vi.advanceTimersByTimeAsync(awayMs);
      await session.restore();
      expect(session.detached).toEqual([]);
      await session.close();
      return deleted;
    };
    expect(await deletionsAfter(2_000, "3.10.8")).toEqual(anew);
    expect(await deletionsAfter(100, "3.10.8")).toEqual([]);
    expect(await deletionsAfter(2_000, "4.3.6")).toEqual([]);
  } finally {
    vi.useRealTimers();
  }
});

it("only asks again for a queue that another instance is making anew", async () => {
  const deleted: string[] = [];
  let isGone = true;
  const client = fakeClient({
    server: { product: "RabbitMQ", version: "3.10.8", capabilities: [] },
    deleteQueue: async (name) => deleted.push(name),
    consume: async ({ queue }) => {
      if (queue === "confluo.s.calls" && isGone) {
        isGone = false;
        throw new ConfluoError("UNAVAILABLE", "no queue");
      }
      return { cancel: async () => undefined, close: async () => undefined };
    },
  });
  const session = new AmqpSession(hostOf(client), fakeMember());
  await session.serve();
  expect([session.detached, deleted]).toEqual([[], []]);
});

it("consumes the durable lane though no calls queue can be had, and goes on to try for one", async () => {
  vi.useFakeTimers();
  try {
    let down = true;
    const client = fakeClient({
      declareQueue: async ({ name }) => {
        if (down && name.includes(".calls")) throw new ConfluoError("UNAVAILABLE", "its node is down");
        return name;
      },
      deleteQueue: async () => {
        throw new ConfluoError("UNAVAILABLE", "its node is down");
      },
    });
    const session = new AmqpSession(hostOf(client), fakeMember());
    await session.serve();
    expect(session.detached).toEqual(["confluo.s.calls", "confluo.s.calls.again"]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(session.detached).toHaveLength(2);
    down = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(session.detached).toEqual([]);
    await session.close();
  } finally {
    vi.useRealTimers();
  }
});

it("comes back with what there is when a queue does not answer on the next wire", async () => {
  vi.useFakeTimers();
  try {
    let silent = new Set(["confluo.s.inbox.again"]);
    const consumes = async ({ queue }: ConsumeOptions): Promise<Consumer> => {
      if (silent.has(queue)) throw new ConfluoError("UNAVAILABLE", "no answer");
      return { cancel: async () => undefined, close: async () => undefined };
    };
    const host = hostOf(fakeClient({ consume: consumes }));
    const session = new AmqpSession(host, fakeMember());
    await session.serve();
    expect(session.detached).toEqual(["confluo.s.inbox.again"]);
    session.forget();
    host.client = fakeClient({ consume: consumes });
    silent = new Set(["confluo.s.inbox"]);
    await session.restore();
    expect(session.detached).toEqual(["confluo.s.inbox"]);
    silent.clear();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(session.detached).toEqual([]);
    silent.add("confluo.s.inbox");
    await expect(new AmqpSession(host, fakeMember()).serve()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await session.close();
  } finally {
    vi.useRealTimers();
  }
});

/** A session that serves, with the means to deliver to it and to confirm what it publishes. */
async function serving(): Promise<{
  readonly host: ReturnType<typeof hostOf>;
  readonly session: AmqpSession;
  readonly confirms: ((failure?: PublishFailure) => void)[];
  deliver(headers: Readonly<Record<string, string>>): AmqpDelivery;
  /** Called for each consumer that is closed. */
  readonly closed: Mock<() => Promise<void>>;
}> {
  const closed = vi.fn(async () => undefined);
  const confirms: ((failure?: PublishFailure) => void)[] = [];
  let onDelivery: ConsumeOptions["onDelivery"] = () => undefined;
  const client = fakeClient({
    publish: (_route, _message, settled) => void confirms.push(settled),
    consume: async (options) => {
      if (options.queue.endsWith(".inbox")) ({ onDelivery } = options);
      return { cancel: async () => undefined, close: closed };
    },
  });
  const host = hostOf(client);
  const session = new AmqpSession(
    host,
    fakeMember({
      onDelivery: (delivery) =>
        void delivery.settle({
          kind: "forward",
          moves: [{ kind: "dead-letter", failure: { error: new Error("x"), retry: "final" } }],
        }),
    }),
  );
  await session.serve();
  const deliver = (headers: Readonly<Record<string, string>>): AmqpDelivery => {
    const message = { body: new Uint8Array(), properties: { type: "/", messageId: "m", headers } };
    const arrival = { message, exchange: "", key: "", redelivered: false, hold: "held" } as const;
    const delivery = { ...arrival, queue: "confluo.s.inbox", ack: vi.fn(), requeue: vi.fn() };
    onDelivery(delivery);
    return delivery;
  };
  return { host, session, confirms, deliver, closed };
}

it("is paused only when what goes on to its next delay queue is confirmed there", async () => {
  const { session, confirms, deliver } = await serving();
  const delivery = deliver({ [header.wait]: "60000" });
  const paused = vi.fn();
  const pausing = session.pause().then(paused);
  await new Promise(setImmediate);
  expect(paused).not.toHaveBeenCalled();
  confirms[0]?.();
  await pausing;
  expect(delivery.ack).toHaveBeenCalledTimes(1);
});

it("keeps what it cannot move and tries again, only what is left, without giving it back", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const { confirms, deliver } = await serving();
    const delivery = deliver({});
    const settle = async (failure?: PublishFailure): Promise<void> => {
      await vi.waitFor(() => expect(confirms.length).toBeGreaterThan(0));
      for (const confirm of confirms.splice(0)) confirm(failure);
    };
    for (let times = 0; times < 2; times += 1) await settle("refused"); // at once, and after declaring anew
    expect(delivery.ack).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1_000);
    await settle();
    await vi.waitFor(() => expect(delivery.ack).toHaveBeenCalledTimes(1));
    expect(delivery.requeue).not.toHaveBeenCalled();
  } finally {
    vi.useRealTimers();
  }
});

it("makes a binding later that was refused, and says so until then", async () => {
  vi.useFakeTimers();
  try {
    let refuse = true;
    const bound: string[] = [];
    const client = fakeClient({
      bind: async (_queue, exchange, key) => {
        if (refuse && exchange === "confluo.events") throw new ConfluoError("UNAVAILABLE", "no exchange");
        bound.push(key);
      },
    });
    const session = new AmqpSession(hostOf(client), fakeMember());
    await expect(session.bind(["a.b"], "service")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(session.detached).toContain("binding of a.b");
    refuse = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(bound).toContain("a.b");
    // And what is bound is consumed, though nobody asked for that any more.
    expect(session.detached).toEqual([]);
    await session.close();
  } finally {
    vi.useRealTimers();
  }
});

it("declares what is missing once for all deliveries that found it missing", async () => {
  const { host, confirms, deliver } = await serving();
  const declareShared = vi.fn(async () => undefined);
  host.declareShared = declareShared;
  const deliveries = Array.from({ length: 20 }, () => deliver({}));
  for (const confirm of confirms.splice(0)) confirm("returned");
  await vi.waitFor(() => expect(confirms).toHaveLength(20));
  expect(declareShared).toHaveBeenCalledTimes(1);
  for (const confirm of confirms) confirm();
  await vi.waitFor(() =>
    expect(deliveries.every(({ ack }) => vi.mocked(ack).mock.calls.length === 1)).toBe(true),
  );
});

/** A session that closes while the broker has not confirmed a copy, and what happens to the original, in order. */
async function closing() {
  const { session, confirms, deliver, closed } = await serving();
  const delivery = deliver({});
  expect(confirms).toHaveLength(1);
  const end = session.close();
  await new Promise(setImmediate);
  return { end, delivery, confirms, closed, deliver };
}

it("closes its consumers when the copies under way are confirmed and their originals acknowledged", async () => {
  const { end, delivery, confirms, closed, deliver } = await closing();
  expect(closed).not.toHaveBeenCalled();
  // What comes meanwhile is not begun: the broker returns it.
  const late = deliver({});
  await new Promise(setImmediate);
  expect(confirms).toHaveLength(1);
  confirms[0]?.();
  await end;
  expect(late.ack).not.toHaveBeenCalled();
  expect(delivery.ack).toHaveBeenCalledTimes(1);
  expect(closed).toHaveBeenCalled();
  const [acked = 0] = vi.mocked(delivery.ack).mock.invocationCallOrder;
  expect(acked).toBeLessThan(Math.min(...closed.mock.invocationCallOrder));
});

it("closes its consumers also where a broker confirms nothing any more, or refuses a copy", async () => {
  const refused = await closing();
  refused.confirms[0]?.("refused");
  await refused.end;
  expect(refused.closed).toHaveBeenCalled();
  expect(refused.delivery.ack).not.toHaveBeenCalled();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const silent = await closing();
    await vi.advanceTimersByTimeAsync(1_000);
    await silent.end;
    expect(silent.closed).toHaveBeenCalled();
    expect(silent.delivery.ack).not.toHaveBeenCalled();
  } finally {
    vi.useRealTimers();
  }
});

it("publishes no copy of what came over a wire that is gone, or to a link that is closed", async () => {
  for (const end of ["lost", "replaced", "closed"] as const) {
    const { host, session, confirms, deliver } = await serving();
    if (end === "closed") await session.close();
    else {
      const late = deliver({});
      expect(confirms).toHaveLength(1);
      host.client = end === "lost" ? undefined : fakeClient();
      confirms[0]?.("lost");
      await new Promise(setImmediate);
      expect(late.ack).not.toHaveBeenCalled();
      expect(late.requeue).not.toHaveBeenCalled();
      continue;
    }
    const stale = deliver({});
    await new Promise(setImmediate);
    expect(confirms).toHaveLength(0);
    expect(stale.ack).not.toHaveBeenCalled();
  }
});
