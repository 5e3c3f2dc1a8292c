/** Dead letters, as an operator looks at them, sends them back and throws them away. */

import assert from "node:assert/strict";
import { type DeadLetter, isConfluoError, type Properties, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

export const letters: Define = (it) => {
  it("lists a command's letter with all that is known of it, and shows it by its id", async (bench) => {
    const worker = await bench.start("worker", (service) =>
      service.route("/task/:id", () => {
        throw new ServiceError("no such task", { code: "NO_SUCH_TASK" });
      }),
    );
    const manager = await bench.start("manager");
    const options = { messageId: "task-7", headers: { h: "kept" } };
    await manager.send("worker", "/task/7?urgent=yes", { n: 1 }, options);
    const [letter] = await listed(bench, "worker", 1);
    assert.ok(letter?.failedAt !== undefined && letter.firstFailedAt !== undefined);
    assert.ok(Math.abs(Date.now() - letter.failedAt.getTime()) < 60_000, `${letter.failedAt}`);
    assert.match(letter.error?.stack ?? "", /no such task/);
    const { firstFailedAt: _, failedAt: __, error, ...rest } = letter;
    assert.deepEqual({ ...error, stack: "" }, { ...failure("NO_SUCH_TASK"), message: "no such task" });
    assert.deepEqual(rest, {
      id: "task-7",
      messageId: "task-7",
      kind: "send",
      path: "/task/7",
      query: "urgent=yes",
      subscription: undefined,
      from: "manager",
      attempts: 1,
      reason: undefined,
      queue: bench.queue("worker", "inbox"),
      instance: worker.instance,
      headers: { h: "kept" },
      contentType: "application/json",
      body: { n: 1 },
    });
    const box = bench.broker.deadLetters("worker");
    assert.deepEqual(await box.show("task-7"), letter);
    assert.equal(await box.show("task-8"), undefined);
    assert.equal(await box.count(), 1);
  });

  it("has no letters of a service that does not exist", async (bench) => {
    const box = bench.broker.deadLetters("nobody");
    assert.equal(await box.count(), 0);
    assert.deepEqual(await box.list(), []);
    assert.equal(await box.show("x"), undefined);
    assert.equal(await box.replay("all"), 0);
    assert.equal(await box.discard("all"), 0);
  });

  it("lists the oldest first, up to its limit, 25 times over without losing one", async (bench) => {
    await declare(bench, "worker");
    await craft(bench, "worker", 60);
    const box = bench.broker.deadLetters("worker");
    const all = Array.from({ length: 60 }, (_, n) => `m-${n}`);
    for (let round = 0; round < 25; round += 1) {
      const limit = round % 2 === 0 ? 100 : 20;
      assert.deepEqual(idsOf(await box.list({ limit })), all.slice(0, limit), `round ${round}`);
    }
    assert.equal(await box.count(), 60);
    assert.deepEqual(idsOf(await box.list()), all);
  });

  it("lists and replays 2,500 letters, more than one consumer may hold", async (bench) => {
    const { seen, start } = counting(bench);
    await declare(bench, "worker");
    await craft(bench, "worker", 2_500);
    const box = bench.broker.deadLetters("worker");
    const all = Array.from({ length: 2_500 }, (_, n) => `m-${n}`);
    for (let round = 0; round < 2; round += 1)
      assert.deepEqual(idsOf(await box.list({ limit: 20_000 })), all, `round ${round}`);
    assert.equal((await box.list()).length, 100);
    assert.equal((await box.show("m-2499"))?.path, "/task");
    assert.equal(await box.replay("all"), 2_500);
    assert.equal(await box.count(), 0);
    await start();
    await eventually(() => seen.size === 2_500, "all of them");
  });

  it("shows what nobody else is looking at, without waiting for the rest, and loses none", async (bench) => {
    await declare(bench, "worker");
    await craft(bench, "worker", 40);
    const client = await bench.foreign();
    const full = signalled();
    let held = 0;
    const onDelivery = (): void => {
      held += 1;
      if (held === 10) full.resolve();
    };
    const queue = bench.queue("worker", "dead");
    const other = await client.consume({ queue, prefetch: 10, onDelivery, onCancelled: () => undefined });
    await full.promise;
    const box = bench.broker.deadLetters("worker");
    assert.equal(await box.count(), 30);
    const rest = Array.from({ length: 30 }, (_, n) => `m-${n + 10}`);
    assert.deepEqual(idsOf(await box.list()), rest);
    await other.close();
    await eventually(async () => (await box.count()) === 40, "all of them");
    await Promise.all([box.list(), box.list({ limit: 25 }), box.show("none"), box.list({ limit: 1 })]);
    await eventually(async () => (await box.count()) === 40, "all of them again");
    assert.equal(new Set(idsOf(await box.list())).size, 40);
  });

  it("keeps letters that an operator allows to come back once, and their order, however often it looks", async (bench) => {
    const client = await bench.foreign();
    const queue = bench.queue("worker", "dead");
    await client.declareQueue({
      name: queue,
      arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1 },
    });
    await bench.publishForeign("", bench.queue("worker", "dead"), "0", {
      messageId: "m-0",
      type: "/task",
      correlationId: "kept",
      headers: { "x-death": [{ reason: "expired", queue: "q" }], n: 5 },
    });
    await craft(bench, "worker", 29);
    const box = bench.broker.deadLetters("worker");
    const before = await box.list();
    const ids = idsOf(before);
    for (let look = 0; look < 3; look += 1) {
      assert.deepEqual(await box.list(), before, `look ${look}`);
      assert.equal((await box.list({ limit: 1 }))[0]?.id, ids[0]);
      assert.equal(await box.show("none"), undefined);
    }
    // Those that are broken off mix them, and lose none.
    await assert.rejects(box.replay("all"), { code: "NO_SUCH_SERVICE" });
    for (const atMs of [1, 2, 4, 6, 8, 11, 14, 20, 30]) {
      await box.list({ signal: AbortSignal.timeout(atMs) }).catch(() => undefined);
      await eventually(async () => (await box.count()) === 30, `all of them after ${atMs} ms`);
    }
    assert.deepEqual([...idsOf(await box.list())].sort(), [...ids].sort());
    const [first] = await box.export(["m-0"]);
    assert.equal(first?.properties.correlationId, "kept");
    await client.deleteQueue(queue);
  });

  it("exports letters with all that they hold, and imports them once", async (bench) => {
    await declare(bench, "worker");
    await craft(bench, "worker", 3);
    await bench.publishForeign("", bench.queue("worker", "dead"), Uint8Array.of(255, 0, 254), {
      type: "/bytes",
      correlationId: "c",
      replyTo: "r",
      headers: {
        text: "é",
        flag: true,
        none: null,
        list: ["a", ["b"]],
        table: { inner: "x" },
        bytes: Buffer.from([200]),
        time: { "!": "timestamp", value: 1_700_000_000 },
        money: { "!": "decimal", value: { places: 2, digits: 314 } },
        whole: { "!": "int", value: 5 },
        large: { "!": "long", value: 9_007_199_254_740_993n },
        single: { "!": "float", value: 1.5 },
      },
    });
    const box = bench.broker.deadLetters("worker");
    const records = await box.export("all");
    assert.equal(records.length, 4);
    const [record] = await box.export((letter) => letter.path === "/bytes");
    assert.deepEqual(record?.body, { base64: "/wD+" });
    assert.deepEqual(record?.headers, {
      text: "é",
      flag: true,
      none: null,
      list: ["a", ["b"]],
      table: { table: { inner: "x" } },
      bytes: { base64: "yA==" },
      time: { timestamp: 1_700_000_000 },
      money: { decimal: { places: 2, digits: 314 } },
      whole: { int32: 5 },
      large: { int64: "9007199254740993" },
      single: { float: 1.5 },
    });
    assert.deepEqual(await box.import(records), { imported: 0, present: 4 });
    assert.equal(await box.discard("all"), 4);
    assert.deepEqual(await box.import(JSON.parse(JSON.stringify(records))), { imported: 4, present: 0 });
    assert.deepEqual(await box.export("all"), records);
    assert.deepEqual(await box.import(records, { again: true }), { imported: 4, present: 0 });
    assert.equal(await box.count(), 8);
    const nobody = bench.broker.deadLetters("nobody").import(records);
    await assert.rejects(nobody, { code: "NO_SUCH_SERVICE", data: { imported: 0, present: 0 } });
  });

  it("removes a service whose queues are empty and without consumers, or by force", async (bench) => {
    const service = await bench.start("worker", (each) => each.route("/", () => undefined));
    const { broker } = bench;
    await assert.rejects(broker.removeService("worker"), { code: "UNAVAILABLE" });
    await service.shutdown();
    await craft(bench, "worker", 2);
    await assert.rejects(broker.removeService("worker"), /worker\.dead holds 2 messages/);
    assert.equal(await broker.deadLetters("worker").count(), 2);
    const removed = await broker.removeService("worker", { force: true });
    const lanes = ["calls", "calls.batch", "calls.again", "inbox", "inbox.again", "dead"] as const;
    assert.deepEqual(
      removed,
      lanes.map((lane) => ({ name: bench.queue("worker", lane), messages: lane === "dead" ? 2 : 0 })),
    );
    await assert.rejects(broker.removeService("worker"), { code: "NO_SUCH_SERVICE" });
    await declare(bench, "worker");
    assert.equal((await broker.removeService("worker")).length, 6);
    for (const given of [
      broker.removeService("a.b"),
      broker.removeService("a", { force: 1 as never }),
      broker.removeService("a", { all: true } as never),
    ])
      assert.ok(isConfluoError(await rejection(given), "INVALID_ARGUMENT"));
  });

  it("lists what makes no sense, and lets it be thrown away", async (bench) => {
    await declare(bench, "worker");
    const queue = bench.queue("worker", "dead");
    await bench.publishForeign("", queue, "");
    await bench.publishForeign("", queue, Uint8Array.of(1, 2), { contentType: "image/png" });
    await bench.publishForeign("", queue, "{broken", {
      headers: { "confluo-attempt": 7, "confluo-failed-at": "never", "x-death": "none", n: 1, t: { a: 1 } },
    });
    await bench.publishForeign("", queue, "2", { headers: { "x-death": [7], "confluo-error": "" } });
    const box = bench.broker.deadLetters("worker");
    const found = await box.list();
    assert.deepEqual(
      found.map(({ body }) => body),
      [undefined, Uint8Array.of(1, 2), new TextEncoder().encode("{broken"), 2],
    );
    for (const [n, { path, kind, attempts, failedAt, reason, error }] of found.entries()) {
      assert.deepEqual(
        [path, kind, attempts, failedAt, reason, error],
        ["", "send", n === 2 ? 7 : 0, undefined, undefined, undefined],
      );
    }
    assert.equal(found[2]?.headers.n, "1");
    const ids = idsOf(found);
    assert.equal(new Set(ids).size, 4);
    assert.deepEqual(idsOf(await box.list()), ids);
    assert.equal(await box.replay("all"), 0);
    assert.equal(await box.replay(ids), 0);
    assert.equal(await box.discard([ids[1] as string]), 1);
    assert.deepEqual(idsOf(await box.list()), [ids[0], ids[2], ids[3]]);
    assert.equal(await box.discard((letter) => letter.path === ""), 3);
    assert.equal(await box.count(), 0);
  });

  it("replays a foreign letter whose path is known, and gives it an id", async (bench) => {
    const got = signalled<unknown>();
    await bench.start("worker", (service) =>
      service.route("/foreign", ({ body, messageId, attempt }) =>
        got.resolve([body, messageId !== "", attempt]),
      ),
    );
    await bench.publishForeign("", bench.queue("worker", "dead"), "5", { type: "/foreign" });
    const box = bench.broker.deadLetters("worker");
    assert.equal(await box.replay("all"), 1);
    assert.deepEqual(await got.promise, [5, true, 1]);
  });

  it("throws away by ids, by a function and all, and nothing else", async (bench) => {
    await declare(bench, "worker");
    await craft(bench, "worker", 10);
    const box = bench.broker.deadLetters("worker");
    assert.equal(await box.discard([]), 0);
    assert.equal(await box.discard(["m-3", "m-3", "m-99"]), 1);
    assert.equal(await box.discard(({ body }) => (body as number) % 2 === 0), 5);
    assert.deepEqual(idsOf(await box.list()), ["m-1", "m-5", "m-7", "m-9"]);
    assert.equal(await box.discard("all"), 4);
    assert.deepEqual(await box.list(), []);
  });

  it("ends with the error of a function that selects, and loses nothing", async (bench) => {
    await declare(bench, "worker");
    await craft(bench, "worker", 3);
    const box = bench.broker.deadLetters("worker");
    const failing = new Error("what now?");
    const choose = (): boolean => {
      throw failing;
    };
    assert.equal(await rejection(box.replay(choose)), failing);
    const later = (async () => true) as unknown as () => boolean;
    await assert.rejects(box.discard(later), { code: "INVALID_ARGUMENT" });
    assert.deepEqual(idsOf(await box.list()), ["m-0", "m-1", "m-2"]);
  });

  it("refuses arguments that make no sense, and ends at its signal", async (bench) => {
    const { broker } = bench;
    assert.throws(() => broker.deadLetters("a.b"), { code: "INVALID_ARGUMENT" });
    const box = broker.deadLetters("worker");
    const wrong = "x" as never;
    for (const given of [
      box.list({ limit: 0 }),
      box.list({ limit: 20_001 }),
      box.list({ most: 1 } as never),
      box.list(wrong),
      box.count(wrong),
      box.count({ timeoutMs: -1 }),
      box.show(""),
      box.show(7 as never),
      box.replay("m-1" as never),
      box.replay([""]),
      box.replay(undefined as never),
      box.discard(["", "a"]),
      box.discard("all", { signal: 1 as never }),
      broker.unbind("a.b", "/x"),
      broker.unbind("a", ""),
      broker.unbind("a", "/x*"),
      broker.unbind("a", "/x", wrong),
    ]) {
      assert.ok(isConfluoError(await rejection(given), "INVALID_ARGUMENT"));
    }
    const signal = AbortSignal.abort();
    await assert.rejects(box.list({ signal }), { code: "CANCELLED" });
    await assert.rejects(box.replay("all", { signal }), { code: "CANCELLED" });
    await assert.rejects(broker.unbind("a", "/x", { signal }), { code: "CANCELLED" });
  });
};

/** The letters of a service, as soon as there are that many. */
export async function listed(bench: Bench, service: string, count: number): Promise<readonly DeadLetter[]> {
  const box = bench.broker.deadLetters(service);
  await eventually(async () => (await box.count()) === count, `${count} dead letters of ${service}`);
  return box.list({ limit: 20_000 });
}

/** The queues of a service are there, and nobody at them. */
export async function declare(bench: Bench, name: string): Promise<void> {
  await (await bench.start(name, (service) => service.route("/", () => undefined))).shutdown();
}

/** Puts letters of commands into a service's dead-letter queue: `m-0`, `m-1` and so on, with their number as body. */
export async function craft(
  bench: Bench,
  service: string,
  count: number,
  properties: Properties = {},
): Promise<void> {
  await publishMany(bench, { exchange: "", key: bench.queue(service, "dead") }, count, {
    type: "/task",
    ...properties,
  });
}

/** Publishes messages as one foreign client does: `m-0`, `m-1` and so on, with their number as body. */
export async function publishMany(
  bench: Bench,
  route: { readonly exchange: string; readonly key: string },
  count: number,
  properties: Properties,
): Promise<void> {
  const client = await bench.foreign();
  const taken = Array.from({ length: count }, (_, n) => {
    const message = {
      body: new TextEncoder().encode(String(n)),
      properties: { messageId: `m-${n}`, deliveryMode: 2, ...properties } as const,
    };
    return new Promise<void>((resolve, reject) => {
      client.publish(route, message, (failed) => {
        if (failed === undefined) resolve();
        else reject(new Error(failed));
      });
    });
  });
  await Promise.all(taken);
}

/** A worker that notes which tasks it is given, started when it is asked to. */
export function counting(bench: Bench): { readonly seen: Map<unknown, number>; start(): Promise<void> } {
  const seen = new Map<unknown, number>();
  const start = async (): Promise<void> => {
    await bench.start("worker", (service) =>
      service.route("/task", ({ body }) => void seen.set(body, (seen.get(body) ?? 0) + 1)),
    );
  };
  return { seen, start };
}

export function idsOf(found: readonly DeadLetter[]): readonly string[] {
  return found.map(({ id }) => id);
}

function failure(code: string): object {
  return { code, name: "ServiceError", stack: "" };
}
