/** What a foreign producer puts beside a message must not steer the copies that confluo makes of it. */

import assert from "node:assert/strict";
import { type Message, type Properties, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { declare } from "./letters.ts";
import { type Bench, type Define, signalled } from "./suite.ts";

// The one that a broker of a test lets in. It is no property that confluo knows.
const user = { userId: "guest" } as Properties;

const forged: Properties = {
  type: "/task",
  messageId: "m",
  appId: "foreigner",
  correlationId: "c",
  replyTo: "r",
  expiration: "600000",
  headers: {
    "x-death": [{ reason: "expired", queue: "elsewhere", exchange: "", count: 1, "routing-keys": ["k"] }],
    "x-own": "1",
    h: "kept",
  },
};

export const allowlist: Define = (it) => {
  it("says of a message whose headers no frame holds that it is invalid, and goes on", async (bench) => {
    const served = await bench.start("served", (service) => service.route("/", () => 1));
    const client = await bench.foreign();
    const publish = (headers: object): Promise<string | undefined> =>
      new Promise((resolve) => {
        const message = { body: new Uint8Array(1), properties: { type: "/", headers } } as Message;
        client.publish({ exchange: "", key: bench.queue("served", "inbox") }, message, resolve);
      });
    assert.equal(await publish({ h: "x".repeat(70_000) }), "invalid");
    assert.equal(await publish({ h: "x".repeat(40_000) }), undefined);
    const failed = await new Promise((resolve) => {
      const message = { body: new Uint8Array(1), properties: { headers: { h: "x".repeat(70_000) } } };
      client.post(bench.queue("served", "calls"), message, resolve);
    });
    assert.equal(failed, "invalid");
    assert.equal((await served.call("served", "/")).body, 1);
  });

  for (const [form, copiesTo] of [
    ["a string", (queue: string) => ({ CC: queue, BCC: queue })],
    ["an array", (queue: string) => ({ CC: [queue], BCC: [queue] })],
  ] as const) {
    it(`sends no copies after CC and BCC as ${form} when it tries again, gives up and replays`, async (bench) => {
      const client = await bench.foreign();
      const trap = bench.queue("trap", "inbox");
      await client.declareQueue({ name: trap, arguments: { "x-queue-type": "classic" } });
      const depth = async (): Promise<number> => (await client.inspectQueue(trap))?.messages ?? 0;
      try {
        const attempts: number[] = [];
        await declare(bench, "worker");
        // Also where replays start: what lies there need not have been in confluo's hands.
        const headers = { ...forged.headers, ...copiesTo(trap) };
        const planted = ["inbox", "dead"] as const;
        const taken = await Promise.allSettled(
          planted.map((lane) =>
            bench.publishForeign("", bench.queue("worker", lane), "1", { ...forged, headers }),
          ),
        );
        // RabbitMQ refuses a string itself, and makes the copies of an array: of the foreign publishes.
        if (taken.some(({ status }) => status === "rejected")) return assert.equal(form, "a string");
        const before = await depth();
        await bench.start("worker", failing(attempts), { retry: twice });
        const box = bench.broker.deadLetters("worker");
        await eventually(async () => (await box.count()) === 2, "two letters");
        assert.equal(await box.replay("all"), 2);
        await eventually(() => attempts.length === 6, "the replays");
        await eventually(async () => (await box.count()) === 2, "two letters again");
        for (const { headers: shown } of await box.list()) assert.deepEqual(shown, { h: "kept" });
        assert.equal(await depth(), before);
      } finally {
        await client.deleteQueue(trap);
      }
    });
  }

  it("keeps x-death, user_id and expiration out of what waits to be tried again", async (bench) => {
    const failed = signalled();
    const worker = await bench.start(
      "worker",
      (service) =>
        service.route("/task", () => {
          failed.resolve();
          throw new ServiceError("busy", { retry: { afterMs: 250 } });
        }),
      { retry: { attempts: 2 } },
    );
    await publishForged(bench, "inbox");
    await failed.promise;
    await worker.shutdown();
    const [copy] = await bench.dieWith("worker", "inbox", 1);
    assertClean(
      copy,
      (name) => name === "x-death" || name.startsWith("x-first-") || name.startsWith("x-last-"),
    );
    // The delay queue's own story, not the forged one.
    assert.doesNotMatch(JSON.stringify(copy?.properties.headers ?? {}), /elsewhere/);
    assert.equal(copy?.properties.headers?.["confluo-attempt"], "2");
  });

  it("keeps them out of what is dead, and of what is replayed", async (bench) => {
    const worker = await bench.start("worker", failing([]));
    await publishForged(bench, "inbox");
    const box = bench.broker.deadLetters("worker");
    await eventually(async () => (await box.count()) === 1, "a letter");
    await worker.shutdown();
    const [letter] = await bench.dieWith("worker", "dead", 1);
    assertClean(letter, () => false);
    assert.equal(letter?.properties.headers?.["confluo-error"], "SERVICE_ERROR");
    await publishForged(bench, "dead");
    assert.equal(await box.replay("all"), 2);
    for (const copy of await bench.dieWith("worker", "inbox", 2)) assertClean(copy, () => false);
  });
};

const twice = { attempts: 2, backoff: { firstMs: 1, maxMs: 1 } } as const;

type Worker = Awaited<ReturnType<Bench["start"]>>;

function failing(attempts: number[]): (service: Worker) => unknown {
  return (service) =>
    service.route("/task", ({ attempt }) => {
      attempts.push(attempt);
      throw new ServiceError("no");
    });
}

// Not every user may say so: then it is left out.
async function publishForged(bench: Bench, lane: "inbox" | "dead"): Promise<void> {
  const queue = bench.queue("worker", lane);
  await bench
    .publishForeign("", queue, "1", { ...forged, ...user })
    .catch(() => bench.publishForeign("", queue, "1", forged));
}

function assertClean(message: Message | undefined, isOfTheDelay: (header: string) => boolean): void {
  assert.ok(message !== undefined);
  const { headers = {}, contentType, ...properties } = message.properties;
  assert.equal(contentType, undefined);
  const present = Object.entries(properties).filter(([, value]) => value !== undefined);
  assert.deepEqual(Object.fromEntries(present), { messageId: "m", deliveryMode: 2 });
  for (const name of Object.keys(headers)) {
    assert.ok(name === "h" || name.startsWith("confluo-") || isOfTheDelay(name), name);
  }
  assert.equal(headers["confluo-from"], "foreigner");
}
