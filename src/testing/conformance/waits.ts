/** Waits at the broker: levels as digits, declared when they are needed, and what carries over such a wait. */

import assert from "node:assert/strict";
import { type Message, type Service, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Define, rejection, signalled } from "./suite.ts";

export const waits: Define = (it) => {
  it("pass through the levels of their digits, which exist only then", async (bench) => {
    const { namespace } = bench.broker;
    const client = await bench.foreign();
    const levels = async (): Promise<readonly number[]> => {
      const there = await Promise.all(
        Array.from({ length: 26 }, async (_, level) => {
          const queue = await client.inspectQueue(`${namespace}.wait.${level}`);
          return queue === undefined ? [] : [level];
        }),
      );
      return there.flat();
    };
    const failed = signalled();
    const worker = await bench.start("worker", failingOnce(1_300, failed.resolve), twice);
    assert.deepEqual(await levels(), []);
    await worker.send("worker", "/");
    await failed.promise;
    await worker.shutdown();
    const [copy] = await bench.dieWith("worker", "inbox", 1);
    // 1,300 ms are six quarters of a second, rounded up.
    assert.deepEqual(await levels(), [1, 2]);
    const deaths = copy?.properties.headers?.["x-death"] as readonly { readonly queue: string }[];
    assert.deepEqual(
      deaths.map(({ queue }) => queue).toSorted(),
      [1, 2].map((level) => `${namespace}.wait.${level}`),
    );
    assert.equal(copy?.properties.headers?.["confluo-wait"], undefined);
  });

  it("go on when all levels are deleted meanwhile, for whatever waits next", async (bench) => {
    const client = await bench.foreign();
    const attempts: number[] = [];
    const setUp = (service: Service): unknown =>
      service.route("/", ({ attempt }) => {
        attempts.push(attempt);
        if (attempt < 3) throw new ServiceError("busy", { retry: { afterMs: 250 * attempt } });
      });
    const worker = await bench.start("worker", setUp, { retry: { attempts: 3 } });
    await worker.send("worker", "/");
    await eventually(() => attempts.length === 3, "the tries before");
    for (const level of [0, 1]) await client.deleteQueue(`${bench.broker.namespace}.wait.${level}`);
    await worker.send("worker", "/");
    await eventually(() => attempts.length === 6, "the tries after");
    assert.deepEqual(attempts, [1, 2, 3, 1, 2, 3]);
    assert.equal(await bench.depth("worker", "dead"), 0);
  });

  it("name a level that somebody has declared in another way, and go on when it is gone", async (bench) => {
    const level = `${bench.broker.namespace}.wait.0`;
    const client = await bench.foreign();
    const attempts: number[] = [];
    const setUp = (service: Service): unknown =>
      service.route("/", ({ attempt }) => {
        attempts.push(attempt);
        if (attempt === 1) throw new ServiceError("busy", { retry: { afterMs: 250 } });
      });
    await client.declareQueue({ name: level, arguments: { "x-queue-type": "quorum" } });
    const worker = await bench.start("worker", setUp, twice);
    const delayed = (await rejection(worker.send("worker", "/", 1, { delayMs: 250 }))) as Error & {
      code: string;
    };
    assert.equal(delayed.code, "UNAVAILABLE");
    assert.match(delayed.message, /wait\.0/);
    await worker.send("worker", "/");
    await eventually(() => attempts.length === 1, "the failure");
    const found = await bench.broker.conflicts();
    assert.deepEqual(
      found.map(({ code, message }) => [code, message.includes(level)]),
      [["TOPOLOGY_CONFLICT", true]],
    );
    await client.deleteQueue(level);
    await eventually(() => attempts.length === 2, "the retry");
    assert.deepEqual(await bench.broker.conflicts(), []);
  });

  it("are gone round again while some of the time is left, and handled only then", async (bench) => {
    const handled = signalled<number>();
    await bench.start("worker", (service) => service.route("/", () => handled.resolve(performance.now())));
    const began = performance.now();
    const headers = { "confluo-wait": "600" };
    await bench.publishForeign("", bench.queue("worker", "inbox"), "1", { type: "/", headers });
    // Clocks of timers may be a moment early.
    assert.ok((await handled.promise) - began >= 740);
  });

  it("end for what waits in a delay queue of the first builds, too", async (bench) => {
    const { namespace } = bench.broker;
    const handled = signalled<unknown>();
    await bench.start("worker", (service) => service.route("/", ({ attempt }) => handled.resolve(attempt)));
    const client = await bench.foreign();
    const old = `${namespace}.delay.250`;
    await client.declareQueue({
      name: old,
      arguments: {
        "x-queue-type": "quorum",
        "x-message-ttl": 250,
        "x-dead-letter-exchange": `${namespace}.back`,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
      },
    });
    await client.declareExchange({ name: old, type: "fanout" });
    await client.bind(old, old, "");
    const headers = { "confluo-kind": "send", "confluo-path": "/", "confluo-attempt": "2" };
    await bench.publishForeign(old, bench.queue("worker", "inbox"), "1", { headers });
    assert.equal(await handled.promise, 2);
    await client.deleteQueue(old);
  });

  it("keep when a message was sent, and so do dead letters and replays", async (bench) => {
    const failed = signalled();
    const worker = await bench.start("worker", failingOnce(250, failed.resolve), twice);
    const before = seconds();
    await worker.send("worker", "/");
    await failed.promise;
    await worker.shutdown();
    const sentAt = at((await bench.dieWith("worker", "inbox", 1))[0]);
    assert.ok(sentAt >= before && sentAt <= seconds(), `${sentAt}`);
    const client = await bench.foreign();
    const dead = bench.queue("worker", "dead");
    const headers = {
      "confluo-kind": "send",
      "confluo-path": "/",
      "confluo-due": "2026-12-01T09:00:00.000Z",
    };
    await bench.publishForeign("", dead, "1", { headers, timestamp: 7, deliveryMode: 2, messageId: "m" });
    await client.deleteQueue(bench.queue("worker", "inbox"));
    await bench.start("worker", (service) => service.route("/", () => 1)).then((each) => each.shutdown());
    assert.equal(await bench.broker.deadLetters("worker").replay("all"), 1);
    const [replayed] = await bench.dieWith("worker", "inbox", 1);
    assert.equal(at(replayed), 7);
    assert.equal(replayed?.properties.headers?.["confluo-due"], headers["confluo-due"]);
  });
};

const twice = { retry: { attempts: 2 } } as const;

/** Sets up a service whose command fails at its first try and asks for another one. */
function failingOnce(afterMs: number, failed: () => void): (service: Service) => unknown {
  return (service) =>
    service.route("/", ({ attempt }) => {
      if (attempt > 1) return;
      failed();
      throw new ServiceError("busy", { retry: { afterMs } });
    });
}

function seconds(): number {
  return Math.floor(Date.now() / 1_000);
}

function at(message: Message | undefined): number {
  const { timestamp } = message?.properties ?? {};
  assert.equal(typeof timestamp, "number");
  return timestamp ?? 0;
}
