/** Messages that no honest sender writes: each has one end, and the service goes on as if nothing had been. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Channel, ConsumeMessage } from "amqplib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Broker, isConfluoError, Service, type StateChange, silentLogger } from "../src/index.ts";
import { CALLS_TYPE } from "../src/protocol/batch.ts";
import { header } from "../src/protocol/codec.ts";
import { Namespace } from "../src/protocol/topology.ts";
import { eventually } from "../src/testing/index.ts";
import { HostileClient, rawText } from "./support/hostile-client.ts";
import {
  type Hostile,
  hostileGathered,
  hostileMessages,
  NOT_UTF8,
  tooDeep,
} from "./support/hostile-messages.ts";
import { deleteNamespace, freshBroker } from "./support/rabbitmq.ts";

const BATCH = 64;
const messages = hostileMessages();
const ordinary: readonly Hostile[] = [{ what: "ordinary", body: Buffer.from("1"), options: {} }];
const uncaught: unknown[] = [];
const onUncaught = (error: unknown): void => void uncaught.push(error);

let broker: Broker;
let victim: Service;
let attacker: HostileClient;
let admin: Channel;
let caller: Service;
/** What became of the messages. */
let ended: { handled: number; copies: number; failedCopies: number; answers: ConsumeMessage[] };

beforeAll(async () => {
  for (const event of ["uncaughtException", "unhandledRejection"]) process.on(event, onUncaught);
  broker = freshBroker({ logger: silentLogger });
  const logger = {
    debug() {},
    info() {},
    warn() {},
    error(_: object, message: string) {
      if (message.startsWith("The per-instance subscription")) ended.failedCopies += 1;
    },
  };
  const options = { broker, logger, retry: { attempts: 1 }, unhandledRetryMs: 0 };
  victim = new Service("victim", options);
  const count = ({ body, kind }: { readonly body: unknown; readonly kind: string }): unknown => {
    if (kind !== "call") ended.handled += 1;
    return body;
  };
  victim.route("/echo", count);
  victim.route("/:any", count);
  victim.subscribe("/told/#", count);
  const countCopy = (): void => {
    ended.copies += 1;
  };
  victim.subscribe("/copied/#", countCopy, { per: "instance" });
  caller = new Service("caller", options);
  await Promise.all([victim.connect(), caller.connect()]);
  attacker = await HostileClient.open((answer) => ended.answers.push(answer));
  admin = await attacker.channel();
});

afterAll(async () => {
  await Promise.all([victim.shutdown(), caller.shutdown(), attacker.close()]);
  await deleteNamespace(broker.namespace, ["victim", "caller", "spy"]);
  for (const event of ["uncaughtException", "unhandledRejection"]) process.off(event, onUncaught);
});

beforeEach(async () => {
  ended = { handled: 0, copies: 0, failedCopies: 0, answers: [] };
  await admin.purgeQueue(queue("dead"));
});

// Every test ends so.
async function expectToGoOn(): Promise<void> {
  expect((await caller.call("victim", "/echo", { still: "here" })).body).toEqual({ still: "here" });
  expect(victim.state).toBe("running");
  expect(uncaught).toEqual([]);
}

const queue = (lane: "calls" | "inbox" | "dead"): string => `${broker.namespace}.victim.${lane}`;

async function dead(): Promise<number> {
  return (await broker.queue(queue("dead")))?.messages ?? 0;
}

/** Sends messages somewhere, which RabbitMQ must take. */
async function attack(
  exchange: string,
  key: string,
  some: readonly Hostile[],
  replyTo = attacker.answers,
): Promise<void> {
  for (let from = 0; from < some.length; from += BATCH) {
    const sent = some.slice(from, from + BATCH).map(async ({ what, body, options }) => {
      const usual = { type: "/echo", correlationId: "c", replyTo };
      expect(await attacker.publish(exchange, key, body, { ...usual, ...options }), what).toBe("taken");
    });
    await Promise.all(sent);
  }
}

// What names one subscription is for no other: an instance drops its copy of it.
const isForAll = ({ options }: Hostile): boolean =>
  !["string", "number", "boolean"].includes(typeof options.headers?.[header.subscription]);

const prototypes = [Object, Array, Function, String, Map].map(({ prototype }) => prototype as object);
const shapeOf = (): unknown => prototypes.map((prototype) => Reflect.ownKeys(prototype));

describe("of the hostile messages", () => {
  it("each that comes as a call is answered or dead-lettered", async () => {
    const before = shapeOf();
    await attack("", queue("calls"), messages);
    const all = async (): Promise<boolean> => ended.answers.length + (await dead()) >= messages.length;
    await eventually(all, "an end for each");
    expect(ended.answers.length + (await dead())).toBe(messages.length);
    expect(ended.answers.length).toBeGreaterThan(messages.length / 2);
    expect(shapeOf()).toEqual(before);
    await expectToGoOn();
  });

  it("each that comes as a one-way command is handled or dead-lettered", async () => {
    await attack("", queue("inbox"), messages);
    const all = async (): Promise<boolean> => ended.handled + (await dead()) >= messages.length;
    await eventually(all, "an end for each");
    expect(ended.handled + (await dead())).toBe(messages.length);
    await expectToGoOn();
  });

  it("each that comes as an event is handled or dead-lettered", async () => {
    await attack(`${broker.namespace}.events`, "told.you", messages);
    const all = async (): Promise<boolean> => ended.handled + (await dead()) >= messages.length;
    await eventually(all, "an end for each");
    expect(ended.handled + (await dead())).toBe(messages.length);
    await expectToGoOn();
  });

  it("each that comes as an instance's own copy of an event is handled, logged or for another subscription", async () => {
    await attack(`${broker.namespace}.events`, "copied.to.you", messages);
    const mine = messages.filter(isForAll).length;
    expect(mine).toBeGreaterThan(messages.length * 0.9);
    await eventually(() => ended.copies + ended.failedCopies >= mine, "an end for each");
    expect(ended.copies + ended.failedCopies).toBe(mine);
    expect(await dead()).toBe(0);
    await expectToGoOn();
  });

  it("each that comes as an answer settles its call, or is dropped", async () => {
    const [calls] = new Namespace(broker.namespace).callQueues("spy");
    if (calls === undefined) throw new Error("no queue for calls");
    await admin.assertQueue(calls.name, { arguments: calls.arguments });
    const asked: ConsumeMessage[] = [];
    await admin.consume(calls.name, (call) => call !== null && asked.push(call), { noAck: true });
    const settled = messages.map(() => victim.call("spy", "/").catch((error: unknown) => error));
    await eventually(() => asked.length === messages.length, "all calls");
    const replyTo = asked[0]?.properties.replyTo;
    await attack("", replyTo, messages); // for a call that nobody made
    const answers = messages.map(({ what, body, options }, n) => {
      const { correlationId } = asked[n]?.properties ?? {};
      return { what, body, options: { ...options, correlationId } };
    });
    await attack("", replyTo, answers);
    for (const [n, outcome] of (await Promise.all(settled)).entries())
      expect(!(outcome instanceof Error) || isConfluoError(outcome), `${messages[n]?.what}: ${outcome}`).toBe(
        true,
      );
    await expectToGoOn();
  });
});

it("a body that is compressed is refused unread", async () => {
  const bombs = messages.filter(({ what }) => what.includes("bomb"));
  await attack("", queue("calls"), bombs);
  await eventually(() => ended.answers.length === bombs.length, "the answers");
  for (const { properties } of ended.answers)
    expect(properties.headers).toMatchObject({
      "confluo-error": "MALFORMED_MESSAGE",
      "confluo-status": "400",
    });
  expect(bombs).toHaveLength(2);
});

it("headers that are nested too deep to be read count as none, and cost no connection", async () => {
  await attack("", queue("calls"), [...tooDeep(), ...ordinary]);
  await attack("", queue("inbox"), tooDeep());
  await eventually(() => ended.answers.length === 3 && ended.handled === 2, "the answers");
  expect(ended.answers.map(({ content }) => content.toString())).toEqual(["1", "1", "1"]);
  await expectToGoOn();
});

it("a call whose reply_to is the service itself ends as a dead letter, and goes round no further", async () => {
  const some = messages.slice(0, 5);
  for (const lane of ["inbox", "calls", "dead"] as const) await attack("", queue("calls"), some, queue(lane));
  await eventually(async () => (await dead()) === 3 * some.length, "a dead letter for each");
  await expectToGoOn();
  expect(await dead()).toBe(3 * some.length);
});

it("a call whose reply_to leads nowhere is dropped with its answer", async () => {
  for (const place of [
    "amq.rabbitmq.reply-to.x",
    "amq.rabbitmq.reply-to.",
    "no-such-queue",
    rawText(NOT_UTF8),
  ])
    await attack("", queue("calls"), ordinary, place);
  await expectToGoOn();
  expect(await dead()).toBe(0);
  // Without a consumer of such answers RabbitMQ does not take the call.
  const direct = { type: "/echo", replyTo: "amq.rabbitmq.reply-to" };
  expect(await attacker.publish("", queue("calls"), Buffer.from("1"), direct)).toBe("refused");
});

// RabbitMQ's own weakness, up to 4.2: it ends the connection of whoever publishes to such a key.
async function endsConnections(): Promise<boolean> {
  const client = await broker.openClient();
  const [major = 0, minor = 0] = client.server.version.split(".").map(Number);
  await client.close();
  return major < 4 || (major === 4 && minor < 3);
}

it("a call whose reply_to is a forged direct one costs the connection, which is made again", async () => {
  let changedAt = 0;
  const stop = new AbortController();
  victim.onState(
    () => {
      changedAt = performance.now();
    },
    { signal: stop.signal },
  );
  await attack("", queue("calls"), ordinary, "amq.rabbitmq.reply-to.AAAA.x");
  // Once for each time that it is answered, the last time with INSTANCE_LOST.
  const isOver = (): boolean =>
    changedAt > 0 && performance.now() - changedAt > 4_000 && victim.state === "running";
  if (await endsConnections())
    await eventually(isOver, "the last loss of the connection", { timeoutMs: 45_000 });
  stop.abort();
  await Promise.all([victim.connect(), caller.connect()]);
  await expectToGoOn();
  expect(await dead()).toBe(0);
}, 60_000);

it("gathered calls of every kind come to an end, answered or not, on the other lanes as well", async () => {
  const some = hostileGathered();
  await attack("", queue("calls"), some);
  await attack("", queue("calls"), some, "");
  await attack("", queue("inbox"), some);
  await attack(`${broker.namespace}.events`, "told.you", some);
  // As commands and events they are of a type that nobody reads: one letter each.
  const atLeast = 2 * some.length;
  await eventually(async () => (await dead()) >= atLeast, "the letters");
  await expectToGoOn();
  await victim.shutdown();
  for (const lane of ["calls", "inbox"] as const)
    expect((await broker.queue(queue(lane)))?.messages, lane).toBe(0);
  await victim.connect();
  await expectToGoOn();
});

it("gathered calls whose reply_to is a forged direct one are not sent back there again and again", async () => {
  let losses = 0;
  const off = new AbortController();
  const count = ({ to }: StateChange): void => {
    if (to === "reconnecting") losses += 1;
  };
  victim.onState(count, { signal: off.signal });
  const body = Buffer.from('[{"id":"a","path":"/no/where"},{"id":"b","path":"/echo","body":1}]');
  const options = { contentType: CALLS_TYPE };
  await attack("", queue("calls"), [{ what: "forged", body, options }], "amq.rabbitmq.reply-to.AAAA.x");
  if (await endsConnections()) await eventually(() => losses > 0, "the loss of the connection");
  // It may be given to an instance twice more, if its acknowledgement was lost.
  for (let quiet = 0, seen = losses; quiet < 10; quiet += 1) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (losses > seen) quiet = 0;
    seen = losses;
    expect(losses).toBeLessThanOrEqual(3);
  }
  off.abort();
  await Promise.all([victim.connect(), caller.connect()]);
  await expectToGoOn();
  expect((await broker.queue(queue("calls")))?.messages).toBe(0);
});

it("an expiration that is no whole number of milliseconds is refused by RabbitMQ itself", async () => {
  for (const expiration of ["-1", "1.5", "1e3", "99999999999999999999", "soon", " 5"]) {
    const options = { type: "/echo", expiration };
    const outcome = await attacker.publish("", queue("calls"), Buffer.from("1"), options);
    expect(outcome, expiration).toBe("refused");
  }
  await expectToGoOn();
});

it("5,000 hostile messages leave no memory behind", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const small = messages.filter(
    ({ body, options }) => body.length < 2_000 && JSON.stringify(options).length < 2_000,
  );
  const copies = small.filter(isForAll).length;
  let sent = 0;
  const round = async (): Promise<number> => {
    ended = { handled: 0, copies: 0, failedCopies: 0, answers: [] };
    await attack("", queue("calls"), small);
    await attack("", queue("inbox"), small);
    for (const key of ["told.you", "copied.to.you"]) await attack(`${broker.namespace}.events`, key, small);
    sent += 4 * small.length;
    const all = async (): Promise<boolean> =>
      ended.answers.length + ended.handled + (await dead()) >= 3 * small.length &&
      ended.copies + ended.failedCopies >= copies;
    await eventually(all, "the end of a round");
    await expectToGoOn();
    await admin.purgeQueue(queue("dead"));
    ended.answers = [];
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = await round();
  while (sent < 5_000) await round();
  const after = await round();
  expect((after - before) / 1024 / 1024).toBeLessThan(2);
});
