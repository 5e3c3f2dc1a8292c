/** Rules of the queues that look odd until one of them is broken. */

import assert from "node:assert/strict";
import { type AmqpClient, type AmqpDelivery, type Service, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Define, signalled } from "./suite.ts";

export const topology: Define = (it) => {
  it("answers what a per-instance subscription calls, though all its places are taken", async (bench) => {
    // With one queue for replies and copies, the replies would wait behind the copies, and these for the replies.
    const handled: unknown[] = [];
    const setUp = (service: Service): Service =>
      service
        .route("/double", ({ body }) => (body as number) * 2)
        .subscribe(
          "/n",
          async ({ body }) => void handled.push((await service.call("both", "/double", body)).body),
          {
            per: "instance",
          },
        );
    const both = await bench.start("both", setUp, { concurrency: { calls: 2, inbox: 2 } });
    for (let n = 0; n < 32; n += 1) await both.publish("/n", n);
    await eventually(() => handled.length === 32, "all copies");
    assert.deepEqual(new Set(handled), new Set(Array.from({ length: 32 }, (_, n) => n * 2)));
  });

  it("lets handlers of one-way commands and events call their own service, though all places are taken", async (bench) => {
    const handled: unknown[] = [];
    const all = signalled();
    const setUp = (service: Service): Service => {
      const work = async ({ body }: { readonly body: unknown }): Promise<void> => {
        handled.push((await service.call("self", "/double", body)).body);
        if (handled.length === 64) all.resolve();
      };
      return service
        .route("/double", ({ body }) => (body as number) * 2)
        .route("/task", work)
        .subscribe("/n", work);
    };
    const self = await bench.start("self", setUp, { concurrency: { calls: 1, inbox: 1 } });
    const numbers = Array.from({ length: 32 }, (_, n) => n);
    await Promise.all(
      numbers.map((n) => Promise.all([self.send("self", "/task", n), self.publish("/n", n)])),
    );
    await all.promise;
  });

  it("lets handlers of calls call their own service, and that again, though all places are taken", async (bench) => {
    const setUp = (service: Service): Service =>
      service.route("/factorial", async ({ body }) => {
        const n = body as number;
        return n < 2 ? 1 : n * ((await service.call("self", "/factorial", n - 1)).body as number);
      });
    const self = await bench.start("self", setUp, { concurrency: { calls: 2 }, timeoutMs: 15_000 });
    const caller = await bench.start("caller");
    const answers = await Promise.all(Array.from({ length: 16 }, () => caller.call("self", "/factorial", 6)));
    assert.deepEqual(new Set(answers.map(({ body }) => body)), new Set([720]));
    assert.equal(self.state, "running");
  });

  it("keeps to its places for calls, however many a handler makes to its own service", async (bench) => {
    let running = 0;
    let most = 0;
    const setUp = (service: Service): Service =>
      service
        .route("/inner", async () => {
          running += 1;
          most = Math.max(most, running);
          await new Promise((resolve) => setTimeout(resolve, 1));
          running -= 1;
        })
        .route("/outer", async () => {
          await Promise.all(Array.from({ length: 50 }, () => service.call("self", "/inner")));
        });
    await bench.start("self", setUp, { concurrency: { calls: 4 }, timeoutMs: 15_000 });
    const caller = await bench.start("caller");
    await Promise.all(Array.from({ length: 8 }, () => caller.call("self", "/outer")));
    assert.ok(most <= 2 * 4, `${most}`);
  });

  it("goes on with the next call to its own service when a handler has given one up", async (bench) => {
    const setUp = (service: Service): Service =>
      service
        .route("/quick", () => "quick")
        .route("/hang", () => new Promise(() => undefined))
        .route("/outer", async () => {
          const signal = AbortSignal.timeout(100);
          await service.call("self", "/hang", undefined, { signal }).catch(() => undefined);
          return (await service.call("self", "/quick")).body;
        });
    await bench.start("self", setUp, { concurrency: { calls: 1 } });
    const caller = await bench.start("caller");
    assert.equal((await caller.call("self", "/outer", undefined, { timeoutMs: 5_000 })).body, "quick");
  });

  it("keeps what is taken and given back 25 times in every queue that holds something", async (bench) => {
    const { namespace } = bench.broker;
    const client = await bench.foreign();
    const level = 12;
    const failing = await bench.start(
      "worker",
      (service) =>
        service.route("/", () => {
          throw new ServiceError("busy", { retry: { afterMs: 250 * 2 ** level } });
        }),
      { retry: { attempts: 2 } },
    );
    await failing.send("worker", "/");
    const wait = `${namespace}.wait.${level}`;
    await eventually(async () => (await client.inspectQueue(wait))?.messages === 1, "the level");
    await failing.shutdown();
    await take(client, wait);
    const queues = ["worker.inbox", "worker.inbox.again", "worker.dead", "orphans", `wait.${level}`];
    for (const name of queues) {
      const queue = `${namespace}.${name}`;
      await bench.publishForeign("", queue, "1", { messageId: "kept", deliveryMode: 2 });
      for (let times = 0; times < 25; times += 1) {
        const taken = signalled();
        const consumer = await client.consume({
          queue,
          prefetch: 1,
          onDelivery: () => taken.resolve(),
          onCancelled: () => undefined,
        });
        await taken.promise;
        await consumer.close();
      }
      await eventually(
        async () => (await client.inspectQueue(queue))?.messages === 1,
        `the message in ${queue}`,
      );
    }
  });
};

/** Takes the message out of a queue that has one. */
async function take(client: AmqpClient, queue: string): Promise<void> {
  const taken = signalled<AmqpDelivery>();
  const options = { queue, prefetch: 1, onDelivery: taken.resolve, onCancelled: () => undefined };
  const consumer = await client.consume(options);
  (await taken.promise).ack();
  await consumer.close();
}
