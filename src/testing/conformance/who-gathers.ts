/** Who sends several calls in one message: who was told by the service that it takes them, and that they cost it little. */

import assert from "node:assert/strict";
import type { Message, Service, ServiceOptions } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { absent, asker, CALLS, entriesIn, messageOf, REPLIES, standIn } from "./mailbox.ts";
import { type Bench, type Define, oneByOne, rejection } from "./suite.ts";

const COUNT = 32;

export const whoGathers: Define = (it) => {
  it("sends single calls only to a foreign service that says nothing", async (bench) => {
    bench.broker.gathersEagerly = false;
    await absent(bench, "foreigner");
    const { messages } = await standIn(bench, "foreigner", (message, client) => {
      const { replyTo = "", correlationId = "" } = message.properties;
      client.post(replyTo, { body: message.body, properties: { correlationId } });
    });
    const caller = await bench.start("caller");
    for (const body of [{ n: 1 }, "€", undefined]) await round(caller, "foreigner", body);
    const calls = 3 * 20 + (await warmUp(caller, "foreigner"));
    assert.equal(messages.length, calls);
    assert.deepEqual(
      new Set(messages.map(({ properties }) => properties.contentType)),
      new Set(["application/json"]),
    );
    const asked = messages.filter(({ properties }) => properties.headers?.["confluo-gather"] !== undefined);
    assert.ok(asked.length > 0 && asked.length < calls / 2, `${asked.length} of ${calls} ask`);
  });

  it("sends several together once the service's replies have said that it takes that", async (bench) => {
    bench.broker.gathersEagerly = false;
    // How many it takes depends on how fast the machine is at the moment.
    const isGathered = async (): Promise<boolean> =>
      (await sentInTraffic(bench, {})).some((message) => entriesIn(message).length > 1);
    await eventually(isGathered, "several calls in a message", { timeoutMs: 15_000 });
  });

  it("sends one that is alone in its turn at once, as a single call", async (bench) => {
    bench.broker.gathersEagerly = false;
    const worker = await bench.start("worker", (service) => service.route("/", ({ body }) => body));
    const caller = await bench.start("caller");
    await warmUp(caller, "worker");
    for (let n = 0; n < 3; n += 1) await caller.call("worker", "/", n);
    await worker.shutdown();
    const { messages } = await standIn(bench, "worker");
    const stop = new AbortController();
    const call = rejection(caller.call("worker", "/", "alone", { signal: stop.signal }));
    await eventually(() => messages.length === 1, "the call");
    assert.equal(messages[0]?.properties.contentType, "application/json");
    stop.abort();
    await call;
  });

  it("sends none to a service that takes one by one, and the service answers several all the same", async (bench) => {
    bench.broker.gathersEagerly = false;
    assertSingle(await sentInTraffic(bench, { worker: oneByOne }));
    await bench.start("worker", (service) => service.route("/", ({ body }) => body), oneByOne);
    const { replyTo, answer, replies } = await asker(bench);
    const calls = JSON.stringify([
      { id: "1", path: "/", ms: 5_000, body: "a" },
      { id: "2", path: "/", ms: 5_000, body: "b" },
    ]);
    await bench.publishForeign("", bench.queue("worker", "calls"), calls, { contentType: CALLS, replyTo });
    assert.deepEqual([(await answer("1")).body, (await answer("2")).body], ["a", "b"]);
    assert.equal(replies.length, 2);
  });

  it("asks nobody, sends none and is sent none, if it is told to do one by one", async (bench) => {
    bench.broker.gathersEagerly = false;
    const messages = await sentInTraffic(bench, { caller: oneByOne });
    assertSingle(messages);
    for (const { properties } of messages) assert.deepEqual(properties.headers ?? {}, {});
  });

  it("sends one by one to a service whose handlers keep its processor busy", async (bench) => {
    bench.broker.gathersEagerly = false;
    const busy = (): void => {
      const end = performance.now() + 5;
      while (performance.now() < end);
    };
    assertSingle(await sentInTraffic(bench, { handler: busy }));
  });

  it("gathers no more than a service has places for, by eighths", async (bench) => {
    bench.broker.gathersEagerly = false;
    const messages = await sentInTraffic(bench, { worker: { concurrency: { calls: 32 } } });
    for (const message of messages) assert.ok(entriesIn(message).length <= 4);
    assertSingle(await sentInTraffic(bench, { worker: { concurrency: { calls: 15 } } }));
  });

  it("takes headers that a service sends back as they came for no word of its own", async (bench) => {
    bench.broker.gathersEagerly = false;
    await absent(bench, "echo");
    const { messages } = await standIn(bench, "echo", ({ body, properties }, client) => {
      const { replyTo = "", correlationId = "", headers = {} } = properties;
      const contentType = "application/json";
      client.post(replyTo, { body, properties: { correlationId, headers, contentType, appId: "echo" } });
    });
    const caller = await bench.start("caller");
    for (let round = 0; round < 3; round += 1) {
      const bodies = Array.from({ length: COUNT }, (_, n) => n);
      const replies = await Promise.all(bodies.map((n) => caller.call("echo", "/", n)));
      assert.deepEqual(
        replies.map(({ body }) => body),
        bodies,
      );
    }
    const contentTypes = messages.map(({ properties }) => properties.contentType);
    assert.deepEqual([...new Set(contentTypes)], ["application/json"]);
  });

  it("takes a number that is not for the queue for batches for one instance's word only", async (bench) => {
    bench.broker.gathersEagerly = false;
    await absent(bench, "earlier");
    const { messages } = await standIn(bench, "earlier", ({ body, properties }, client) => {
      const { replyTo = "", correlationId = "" } = properties;
      const headers = { "confluo-gather": "16" };
      const contentType = "application/json";
      client.post(replyTo, { body, properties: { correlationId, headers, contentType, appId: "earlier" } });
    });
    const caller = await bench.start("caller");
    await warmUp(caller, "earlier");
    const contentTypes = messages.map(({ properties }) => properties.contentType);
    assert.deepEqual([...new Set(contentTypes)], ["application/json"]);
  });

  it("sends one by one to a service that is served by a program beside it that takes no batches", async (bench) => {
    bench.broker.gathersEagerly = false;
    await bench.start("worker", (service) => service.route("/", ({ body }) => body));
    const plain = await plainInstance(bench, "worker");
    const caller = await bench.start("caller");
    const calls = await warmUp(caller, "worker");
    assert.deepEqual([...new Set(plain.contentTypes)], ["application/json"]);
    // A fair share: what travels together goes past those that cannot take it.
    assert.ok(plain.contentTypes.length > calls / 4, `${plain.contentTypes.length} of ${calls}`);
  });

  it("answers all though the last instance that takes batches leaves, or the first one comes, under load", async (bench) => {
    bench.broker.gathersEagerly = false;
    const setUp = (service: Service): Service => service.route("/", ({ body }) => body);
    const first = await bench.start("worker", setUp);
    const caller = await bench.start("caller", undefined, { timeoutMs: 5_000 });
    let isOver = false;
    const load = async (): Promise<void> => {
      for (let n = 0; !isOver; n += 1) {
        const bodies = Array.from({ length: 20 }, (_, at) => `${n} ${at}`);
        const replies = await Promise.all(bodies.map((body) => caller.call("worker", "/", body)));
        assert.deepEqual(
          replies.map(({ body }) => body),
          bodies,
        );
      }
    };
    const loads = Promise.all([load(), load()]);
    const rest = (ms: number): Promise<unknown> =>
      Promise.race([loads, new Promise((resolve) => setTimeout(resolve, ms))]);
    await rest(300);
    const plain = await plainInstance(bench, "worker");
    await first.shutdown();
    await rest(300);
    const next = await bench.start("worker", setUp);
    await rest(300);
    await next.shutdown();
    await rest(100);
    isOver = true;
    await loads;
    assert.deepEqual([...new Set(plain.contentTypes)], ["application/json"]);
  });

  it("answers several together only to who says that he takes that", async (bench) => {
    bench.broker.gathersEagerly = false;
    await bench.start("worker", (service) => service.route("/", ({ body }) => body));
    const plain = await asker(bench);
    const able = await asker(bench);
    const passing = await asker(bench);
    for (const [to, headers] of [
      [plain, {}],
      // What was said to another, passed on.
      [passing, { "confluo-gather": able.replyTo }],
      [able, { "confluo-gather": able.replyTo }],
    ] as const) {
      const client = await bench.foreign();
      const key = bench.queue("worker", "calls");
      for (let n = 0; n < 40; n += 1) {
        const properties = { type: "/", replyTo: to.replyTo, correlationId: `${n}`, headers };
        const message = { body: new TextEncoder().encode(`${n}`), properties };
        client.publish({ exchange: "", key }, message, () => undefined);
      }
      for (let n = 0; n < 40; n += 1) assert.equal((await to.answer(`${n}`)).body, n);
    }
    assert.deepEqual([plain.replies.length, passing.replies.length], [40, 40]);
    for (const { properties } of [...plain.replies, ...passing.replies]) {
      assert.equal(properties.contentType, "application/json");
      assert.deepEqual(properties.headers ?? {}, {});
    }
    const told = able.replies.find(({ properties }) => properties.headers?.["confluo-gather"] !== undefined);
    assert.equal(told?.properties.appId, "worker");
    assert.match(String(told?.properties.headers?.["confluo-gather"]), /^calls\.batch=[1-9]\d*$/);
    for (const { properties } of able.replies)
      assert.ok(["application/json", REPLIES].includes(properties.contentType ?? ""));
  });
};

/** A program that serves beside confluo's instances and knows single calls only, as any AMQP client may. */
async function plainInstance(bench: Bench, service: string): Promise<{ readonly contentTypes: unknown[] }> {
  const client = await bench.foreign();
  const contentTypes: unknown[] = [];
  await client.consume({
    queue: bench.queue(service, "calls"),
    prefetch: 10,
    onCancelled: () => undefined,
    onDelivery: (delivery) => {
      const { body, properties } = delivery.message;
      const { replyTo = "", correlationId = "", contentType } = properties;
      contentTypes.push(contentType);
      client.post(replyTo, { body, properties: { correlationId, contentType: "application/json" } });
      delivery.ack();
    },
  });
  return { contentTypes };
}

function assertSingle(messages: readonly Message[]): void {
  const contentTypes = messages.map(({ properties }) => properties.contentType);
  assert.deepEqual([...new Set(contentTypes)], ["application/json"]);
}

interface Traffic {
  readonly handler?: () => void;
  readonly worker?: ServiceOptions;
  readonly caller?: ServiceOptions;
}

/** The messages in which calls go out, once the service has had the time to say what it takes: those that a neighbour gets. */
async function sentInTraffic(
  bench: Bench,
  { handler = () => undefined, worker, caller }: Traffic,
): Promise<readonly Message[]> {
  const answering = await bench.start("worker", (service) => service.route("/", handler), worker);
  const calling = await bench.start("caller", undefined, caller);
  const { messages, close } = await standIn(bench, "worker", (message, client) => {
    const { replyTo = "" } = message.properties;
    for (const { id } of entriesIn(message)) client.post(replyTo, messageOf("", { correlationId: id }));
  });
  await warmUp(calling, "worker");
  const warm = messages.length;
  await eventually(async () => {
    await round(calling, "worker", 0);
    return messages.length >= warm + COUNT;
  }, "messages for the neighbour");
  await Promise.all([answering.shutdown(), calling.shutdown()]);
  await close();
  return messages.slice(warm);
}

/** Calls, 20 a turn, for as long as it takes to be told, and to tell, what calls cost. @returns how many. */
async function warmUp(caller: Service, service: string): Promise<number> {
  let calls = 0;
  for (const end = performance.now() + 400; performance.now() < end; calls += 20)
    await round(caller, service, calls);
  return calls;
}

async function round(caller: Service, service: string, body: unknown): Promise<void> {
  await Promise.all(Array.from({ length: 20 }, () => caller.call(service, "/", body)));
}
