import { AsyncLocalStorage } from "node:async_hooks";
import { channel, subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, describe, expect, it } from "vitest";
import { handledMessages, outgoingMessages } from "./diagnostics.ts";
import {
  Broker,
  type Context,
  command,
  diagnosticsChannels,
  type HandledMessage,
  type OutgoingMessage,
  Service,
  ServiceError,
  silentLogger,
} from "./index.ts";
import { eventually } from "./testing/index.ts";

const { outgoing, handled } = diagnosticsChannels;
const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

function listen<Told>(name: string, listener: (told: Told) => void): void {
  const own = (told: unknown): void => listener(told as Told);
  subscribe(name, own);
  cleanUp.push(() => unsubscribe(name, own));
}

/** What is told on all channels of one kind, in order, as `start /path`. */
function told(names: typeof outgoing | typeof handled): {
  readonly steps: string[];
  readonly messages: unknown[];
} {
  const steps: string[] = [];
  const messages: unknown[] = [];
  for (const step of ["start", "error", "end"] as const) {
    listen<OutgoingMessage | HandledMessage>(names[step], (message) => {
      steps.push(`${step} ${message.kind} ${message.path}`);
      messages.push(message);
    });
  }
  return { steps, messages };
}

async function pair(options: object = {}): Promise<{ readonly worker: Service; readonly client: Service }> {
  const broker = new Broker("memory:");
  broker.gathersEagerly = true; // calls travel in gathered messages from the first on
  const worker = new Service("worker", { logger: silentLogger, ...options });
  const client = new Service("client", { logger: silentLogger, ...options });
  cleanUp.push(() => Promise.all([worker.shutdown(), client.shutdown()]));
  worker.route("/double", ({ body }) => Number(body) * 2);
  worker.route("/orders/:id", ({ headers }) => headers);
  worker.route("/slow", () => new Promise((resolve) => setTimeout(resolve, 200)));
  worker.route("/bad", () => {
    throw new ServiceError("no", { status: 409, code: "NO" });
  });
  await Promise.all([worker.connect(broker), client.connect(broker)]);
  return { worker, client };
}

describe("what goes out", () => {
  it("is told from start to end, with who sends what to whom", async () => {
    const { steps, messages } = told(outgoing);
    const { client, worker } = await pair();
    await client.call("worker", "/double", 2);
    await client.send("worker", "/double", 2, { messageId: "m-1" });
    await client.publish("/happened");
    expect(steps).toEqual([
      "start call /double",
      "end call /double",
      "start send /double",
      "end send /double",
      "start event /happened",
      "end event /happened",
    ]);
    const { instance } = client;
    expect(messages[0]).toMatchObject({ service: "client", instance, to: "worker", pattern: undefined });
    expect(messages[2]).toMatchObject({ messageId: "m-1", to: "worker", error: undefined });
    expect(messages[4]).toMatchObject({ to: undefined });
    expect((messages[0] as OutgoingMessage).messageId).toMatch(/./);
    expect(messages[1]).toBe(messages[0]);
    expect(worker.state).toBe("running");
  });

  it("is told as failed with what its sender gets", async () => {
    const { steps, messages } = told(outgoing);
    const { client } = await pair();
    const failure = await client.call("worker", "/bad").catch((error: unknown) => error);
    expect(steps).toEqual(["start call /bad", "error call /bad", "end call /bad"]);
    expect((messages[1] as OutgoingMessage).error).toBe(failure);
    await client.send("nobody", "/x").catch(() => undefined);
    expect(steps.slice(3)).toEqual(["start send /x", "error send /x", "end send /x"]);
  });

  it("has the pattern of its contract", async () => {
    const { messages } = told(outgoing);
    const { client } = await pair();
    await client.call(command("worker", "/orders/:id").at({ id: "7" }));
    expect(messages[0]).toMatchObject({ path: "/orders/7", pattern: "/orders/:id" });
  });

  it("takes headers of a listener, also when calls travel together, and beside a query and others", async () => {
    listen<OutgoingMessage>(outgoing.start, (message) => {
      expect(message.headers).toEqual(message.kind === "call" ? { own: "1" } : {});
      expect(message.setHeader("traceparent", message.messageId)).toBe(true);
    });
    const received: Context["headers"][] = [];
    const { client, worker } = await pair();
    worker.subscribe("/happened", ({ headers }) => void received.push(headers));
    await worker.connect();
    const ask = (id: number): Promise<unknown> =>
      client
        .call("worker", `/orders/${id}?page=2`, undefined, { headers: { own: "1" } })
        .then(({ body }) => body);
    for (let round = 0; round < 2; round += 1) {
      const answers = await Promise.all([1, 2, 3].map(ask));
      for (const answer of answers) expect(answer).toEqual({ own: "1", traceparent: expect.any(String) });
    }
    await client.publish("/happened", undefined, { messageId: "m-2" });
    await eventually(() => received.length === 1, "the event");
    expect(received).toEqual([{ traceparent: "m-2" }]);
  });

  it("goes without a header that the protocol does not allow", async () => {
    const taken: boolean[] = [];
    listen<OutgoingMessage>(outgoing.start, (message) => {
      for (const [name, value] of [
        ["CC", "x"],
        ["confluo-kind", "event"],
        ["long", "x".repeat(40_000)],
        ["broken", "\ud800"],
        ["fine", "x"],
      ] as const)
        taken.push(message.setHeader(name, value));
    });
    const { client } = await pair();
    const { body } = await client.call("worker", "/orders/1");
    expect(taken).toEqual([false, false, false, false, true]);
    expect(body).toEqual({ fine: "x" });
  });
});

describe("what is handled", () => {
  it("is told from start to end, with the handler's pattern", async () => {
    const { steps, messages } = told(handled);
    const { client, worker } = await pair();
    await client.call("worker", "/orders/7");
    expect(steps).toEqual(["start call /orders/7", "end call /orders/7"]);
    expect(messages[1]).toBe(messages[0]);
    expect(messages[0]).toMatchObject({
      service: "worker",
      instance: worker.instance,
      pattern: "/orders/:id",
      from: "client",
      attempt: 1,
      redelivered: false,
      status: 200,
      error: undefined,
    });
  });

  it("is told as failed with what the handler threw, each try by itself", async () => {
    const { steps, messages } = told(handled);
    const { client, worker } = await pair();
    const failure = new Error("not yet");
    worker.route("/later", ({ attempt }) => (attempt === 1 ? Promise.reject(failure) : undefined), {
      retry: { attempts: 2, backoff: { firstMs: 100, maxMs: 100 } },
    });
    await worker.connect();
    await client.send("worker", "/later", undefined, { messageId: "m-3" });
    await eventually(() => steps.length === 5, "two tries");
    expect(steps.map((step) => step.split(" ")[0])).toEqual(["start", "error", "end", "start", "end"]);
    expect(messages[1]).toMatchObject({ error: failure, attempt: 1, messageId: "m-3" });
    expect(messages[4]).toMatchObject({ error: undefined, attempt: 2, messageId: "m-3" });
  });

  it("is told as failed when nobody waits for it any more, once", async () => {
    const { steps, messages } = told(handled);
    const { client } = await pair();
    await client.call("worker", "/slow", undefined, { timeoutMs: 50 }).catch(() => undefined);
    await eventually(() => steps.length === 3, "its end");
    expect((messages[1] as HandledMessage).error).toMatchObject({ code: "TIMEOUT" });
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(steps).toHaveLength(3);
  });

  it("runs within a store that is bound to the channel, and within functions, through asynchronous handlers and middleware", async () => {
    const store = new AsyncLocalStorage<string>();
    const other = new AsyncLocalStorage<string>();
    const start = channel(handled.start);
    start.bindStore(store, (message) => (message as HandledMessage).messageId);
    cleanUp.push(() => start.unbindStore(store));
    listen<HandledMessage>(handled.start, (message) => {
      message.runInside((run) => other.run(`outer ${message.path}`, run));
      message.runInside((run) => other.run(`inner of ${other.getStore()}`, run));
    });
    const { client, worker } = await pair();
    worker.use(async (_, next) => {
      await Promise.resolve();
      return next();
    });
    worker.route("/context", async ({ messageId }) => {
      await new Promise((resolve) => setImmediate(resolve));
      return [store.getStore() === messageId, other.getStore()];
    });
    await worker.connect();
    const { body } = await client.call("worker", "/context");
    expect(body).toEqual([true, "inner of outer /context"]);
    expect(store.getStore()).toBeUndefined();
  });
});

describe("the context of a listener", () => {
  it("is the sender's own for what goes out, and none for what is handled", async () => {
    const tenants = new AsyncLocalStorage<string>();
    const seen = new Map<string, Set<string | undefined>>();
    for (const names of [outgoing, handled]) {
      for (const name of Object.values(names)) {
        const contexts = new Set<string | undefined>();
        seen.set(name, contexts);
        listen(name, () => contexts.add(tenants.getStore()));
      }
    }
    const { client, worker } = await tenants.run("connector", () => pair());
    worker.route("/fails", () => Promise.reject(new Error("by intention")));
    await tenants.run("sender", async () => {
      const options = { timeoutMs: 50 };
      for (const path of ["/double", "/bad", "/fails", "/slow"])
        await client.call("worker", path, 1, options).catch(() => undefined);
    });
    const left = tenants.run("sender", () => client.call("worker", "/slow").catch(() => undefined));
    await eventually(() => worker.stats().routes.some(({ inFlight }) => inFlight > 0), "a call in hand");
    await tenants.run("closer", () => worker.shutdown({ timeoutMs: 1 }));
    await tenants.run("closer", () => client.shutdown({ timeoutMs: 1 }));
    await left;
    const of = (context: string | undefined, names: object): unknown =>
      Object.values(names).map((name) => [name, new Set([context])]);
    expect([...seen]).toEqual([...(of("sender", outgoing) as []), ...(of(undefined, handled) as [])]);
  });
});

describe("without a listener", () => {
  it("nothing is made", async () => {
    const { client } = await pair();
    const isWatched = [outgoingMessages, handledMessages].map(({ start, error, end }) =>
      [start, error, end].some(({ hasSubscribers }) => hasSubscribers),
    );
    expect(isWatched).toEqual([false, false]);
    const made: unknown[] = [];
    const originals = [outgoingMessages.start, handledMessages.start].map((start) => {
      const { publish, runStores } = start;
      start.publish = (message: unknown) => void made.push(message);
      start.runStores = () => made.push("run") as never;
      return () => Object.assign(start, { publish, runStores });
    });
    cleanUp.push(...originals);
    await client.call("worker", "/double", 2);
    await client.send("worker", "/double", 2);
    expect(made).toEqual([]);
  });
});
