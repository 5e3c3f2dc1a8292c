/** Questions and answers of discovery that no honest program writes: nothing else ends for them. */

import type { Channel } from "amqplib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Broker, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { HostileClient, rawText } from "./support/hostile-client.ts";
import { hostileMessages, NOT_UTF8, tooDeep } from "./support/hostile-messages.ts";
import { deleteNamespace, freshBroker } from "./support/rabbitmq.ts";

const messages = hostileMessages();
/** As long as AMQP allows: what replaces them takes three times as many bytes. */
const LONG_NOT_UTF8 = Buffer.alloc(200, 0xff);
const uncaught: unknown[] = [];
const onUncaught = (error: unknown): void => void uncaught.push(error);

let broker: Broker;
let victim: Service;
let neighbour: Service;
let caller: Service;
let attacker: HostileClient;
let admin: Channel;
let answers = 0;

beforeAll(async () => {
  for (const event of ["uncaughtException", "unhandledRejection"]) process.on(event, onUncaught);
  broker = freshBroker({ logger: silentLogger });
  // On one connection: what one of them takes in must not end the other's answers.
  victim = new Service("victim", { broker, logger: silentLogger }).route("/echo", ({ body }) => body);
  neighbour = new Service("neighbour", { broker, logger: silentLogger }).route("/echo", ({ body }) => body);
  caller = new Service("caller", { broker, logger: silentLogger });
  await Promise.all([victim.connect(), neighbour.connect(), caller.connect()]);
  attacker = await HostileClient.open(() => {
    answers += 1;
  });
  admin = await attacker.channel();
});

afterAll(async () => {
  await Promise.all([victim.shutdown(), neighbour.shutdown(), caller.shutdown(), attacker.close()]);
  await deleteNamespace(broker.namespace, ["victim", "neighbour", "caller"]);
  for (const event of ["uncaughtException", "unhandledRejection"]) process.off(event, onUncaught);
});

async function expectToGoOn(): Promise<void> {
  for (const service of ["victim", "neighbour"])
    expect((await caller.call(service, "/echo", 7, { timeoutMs: 5_000 })).body).toBe(7);
  expect(await broker.ping()).toHaveLength(3);
  expect([victim, neighbour, caller].map((service) => service.health().status)).toEqual([
    "healthy",
    "healthy",
    "healthy",
  ]);
  expect(uncaught).toEqual([]);
}

const ask = (options: object): Promise<"taken" | "refused"> =>
  attacker.publish(`${broker.namespace}.discovery`, "*", Buffer.alloc(0), { type: "ping", ...options });

it.each([
  ["correlation_id", () => ({ replyTo: attacker.answers, correlationId: rawText(LONG_NOT_UTF8) })],
  ["reply_to", () => ({ replyTo: rawText(LONG_NOT_UTF8), correlationId: "c" })],
  ["short reply_to", () => ({ replyTo: rawText(NOT_UTF8), correlationId: "c" })],
  ["type", () => ({ replyTo: attacker.answers, type: rawText(LONG_NOT_UTF8) })],
])("a question whose %s is no UTF-8 ends no answering", async (_, options) => {
  expect(await ask(options())).toBe("taken");
  await expectToGoOn();
});

it("each hostile message that comes as a question is answered or ignored", async () => {
  answers = 0;
  for (const { what, body, options } of messages) {
    const usual = { type: "info", correlationId: "c", replyTo: attacker.answers };
    const all = { ...usual, ...options };
    expect(await attacker.publish(`${broker.namespace}.discovery`, "victim", body, all), what).toBe("taken");
  }
  await expectToGoOn();
  expect(answers).toBeGreaterThan(messages.length / 2);
});

it("a question whose headers are nested too deep to be read is answered like any other", async () => {
  answers = 0;
  for (const { options } of tooDeep())
    expect(await ask({ ...options, replyTo: attacker.answers })).toBe("taken");
  // Of three instances each. RabbitMQ 4 takes a second to hand one out.
  await eventually(() => answers === 6, "the answers");
  await expectToGoOn();
});

it("each hostile message that comes as the answer to a question is dropped", async () => {
  const { queue } = await admin.assertQueue("", { exclusive: true });
  await admin.bindQueue(queue, `${broker.namespace}.discovery`, "*");
  const sent: Promise<unknown>[] = [];
  await admin.consume(
    queue,
    (question) => {
      const { replyTo, correlationId } = question?.properties ?? {};
      for (const { body, options } of messages)
        sent.push(attacker.publish("", replyTo, body, { ...options, correlationId }));
    },
    { noAck: true },
  );
  const found = await broker.discover();
  expect(found.map(({ service }) => service)).toEqual(["caller", "neighbour", "victim"]);
  expect(sent.length).toBeGreaterThanOrEqual(messages.length);
  await Promise.all(sent);
  await admin.deleteQueue(queue);
  await expectToGoOn();
});

it("a question to every instance whose reply_to is the inbox of a service becomes no command", async () => {
  const inbox = `${broker.namespace}.victim.inbox`;
  for (let n = 0; n < 10; n += 1) expect(await ask({ replyTo: inbox })).toBe("taken");
  await expectToGoOn();
  await eventually(async () => (await broker.queue(inbox))?.messages === 0, "an empty inbox");
  expect((await broker.queue(`${broker.namespace}.victim.dead`))?.messages).toBe(0);
});
