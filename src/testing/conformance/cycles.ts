/** Services that call each other in a circle: what waits for an answer holds no place that the answer needs. */

import assert from "node:assert/strict";
import { isConfluoError, type Service } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

export const cycles: Define = (it) => {
  it("answers calls that two services pass to and fro, more than twice as many as they have places", async (bench) => {
    const caller = await circle(bench, ["left", "right"]);
    await allAnswered(300, (n) => caller.call("left", "/pass/3", n));
  });

  it("answers calls that go round three services again and again, though each has two places", async (bench) => {
    const caller = await circle(bench, ["first", "second", "third"], { calls: 2 });
    await allAnswered(100, (n) => caller.call("first", "/pass/7", n));
  });

  it("handles commands and events whose handlers call in a circle, though all places are taken", async (bench) => {
    const caller = await circle(bench, ["left", "right"], { calls: 1, inbox: 1 });
    const handled = new Set<unknown>();
    const work = async ({ body }: { readonly body: unknown }): Promise<void> => {
      handled.add((await worker.call("left", "/pass/3", body)).body);
    };
    const worker = await bench.start(
      "worker",
      (service) =>
        service.route("/task", work).subscribe("/told", work).subscribe("/copy", work, { per: "instance" }),
      { concurrency: { calls: 1, inbox: 1 } },
    );
    for (let n = 0; n < 30; n += 3) {
      await caller.send("worker", "/task", n);
      await caller.publish("/told", n + 1);
      await caller.publish("/copy", n + 2);
    }
    await eventually(() => handled.size === 30, "all of them");
  });

  it("answers what is called beside a circle that holds as many handlers as may wait", async (bench) => {
    const held = signalled();
    let holding = 0;
    await bench.start("holder", (service) =>
      service.route("/hold", async () => {
        holding += 1;
        await held.promise;
      }),
    );
    await bench.start(
      "asker",
      (service) =>
        service
          .route("/ask", async ({ body }) => void (await service.call("holder", "/hold", body)))
          .route("/flat", () => "flat"),
      { concurrency: { calls: 2 } },
    );
    const caller = await bench.start("caller");
    const asked = Array.from({ length: 100 }, () => caller.call("asker", "/ask"));
    await eventually(() => holding === 100, "all to be held");
    for (let n = 0; n < 20; n += 1) assert.equal((await caller.call("asker", "/flat")).body, "flat");
    held.resolve();
    await Promise.all(asked);
  });

  it("answers OVERLOADED at once when as many handlers wait for answers as may, and goes on afterwards", async (bench) => {
    const held = signalled();
    let holding = 0;
    await bench.start("holder", (service) =>
      service.route("/hold", async () => {
        holding += 1;
        await held.promise;
      }),
    );
    const ask = async (service: Service): Promise<void> => void (await service.call("holder", "/hold"));
    await bench.start(
      "asker",
      (service) => service.route("/ask", () => ask(service)).route("/flat", () => "flat"),
      { concurrency: { calls: 2, waiting: 4 } },
    );
    const caller = await bench.start("caller");
    const asked: Promise<unknown>[] = [];
    for (let n = 1; n <= 4; n += 1) {
      asked.push(caller.call("asker", "/ask"));
      await eventually(() => holding === n, `${n} to be held`);
    }
    const began = performance.now();
    const turnedAway = Array.from({ length: 200 }, () => rejection(caller.call("asker", "/flat")));
    for (const error of await Promise.all(turnedAway)) {
      assert.ok(isConfluoError(error, "OVERLOADED"), String(error));
      assert.equal(error.status, 503);
      assert.match(error.message, /4 of its handlers wait.*concurrency\.waiting is 4/);
    }
    assert.ok(performance.now() - began < 10_000);
    assert.ok(bench.log.filter(({ message }) => message.includes("concurrency.waiting")).length <= 2);
    held.resolve();
    await Promise.all(asked);
    assert.equal((await caller.call("asker", "/flat")).body, "flat");
  });

  it("lets no more handlers work at a time than there are places, whatever became of what others waited for", async (bench) => {
    await bench.start("holder", (service) => service.route("/hold", () => new Promise(() => undefined)));
    let working = 0;
    let most = 0;
    const asker = await bench.start(
      "asker",
      (service) =>
        service
          .route("/given-up", async () => {
            const signal = AbortSignal.timeout(20);
            await service.call("holder", "/hold", undefined, { signal }).catch(() => undefined);
          })
          .route("/left", () => void service.call("holder", "/hold").catch(() => undefined))
          .route("/late", () => service.call("holder", "/hold", undefined, { timeoutMs: 60_000 }))
          .route("/refused", () => service.call("nobody", "/").catch(() => undefined))
          .route("/work", async () => {
            working += 1;
            most = Math.max(most, working);
            await new Promise((resolve) => setTimeout(resolve, 2));
            working -= 1;
          }),
      { concurrency: { calls: 2, waiting: 20 } },
    );
    const caller = await bench.start("caller");
    for (let round = 0; round < 3; round += 1) {
      const each = Array.from({ length: 4 }, () => [
        caller.call("asker", "/given-up"),
        caller.call("asker", "/left"),
        caller.call("asker", "/refused"),
        caller.call("asker", "/late", undefined, { timeoutMs: 100 }).catch(() => undefined),
      ]);
      await Promise.all(each.flat());
    }
    await Promise.all(Array.from({ length: 60 }, () => caller.call("asker", "/work")));
    assert.equal(most, 2);
    await asker.shutdown({ timeoutMs: 1 });
  });

  it("lets a consumer have more deliveries in hand than it began with, and fewer again", async (bench) => {
    await bench
      .start("worker", (service) => service.route("/", () => undefined))
      .then((each) => each.shutdown());
    const queue = bench.queue("worker", "inbox");
    for (let n = 0; n < 20; n += 1) await bench.publishForeign("", queue, String(n));
    const client = await bench.foreign();
    const taken: { ack(): void }[] = [];
    const consumer = await client.consume({
      queue,
      prefetch: 2,
      onDelivery: (delivery) => taken.push(delivery),
      onCancelled: () => undefined,
    });
    const inHand = async (count: number): Promise<void> => {
      await eventually(() => taken.length === count, `${count} in hand`);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(taken.length, count);
    };
    await inHand(2);
    consumer.allow?.(4);
    await inHand(4);
    consumer.allow?.(8);
    consumer.allow?.(2);
    // What is in hand stays so; what comes next is bound by what is allowed now.
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const delivery of taken.splice(0)) delivery.ack();
    await inHand(2);
    await consumer.close();
  });
};

/** Services each of which passes on what it is asked for to the next, as often as the path says. */
async function circle(
  bench: Bench,
  names: readonly string[],
  concurrency: { readonly calls?: number; readonly inbox?: number } = {},
): Promise<Service> {
  const start = (name: string, n: number): Promise<Service> => {
    const next = names[(n + 1) % names.length] as string;
    const setUp = (service: Service): Service =>
      service.route("/pass/:left", async ({ params: { left }, body }) =>
        left === "0" ? body : (await service.call(next, `/pass/${Number(left) - 1}`, body)).body,
      );
    return bench.start(name, setUp, { concurrency });
  };
  await Promise.all(names.map(start));
  return bench.start("caller");
}

async function allAnswered(
  count: number,
  call: (n: number) => Promise<{ readonly body: unknown }>,
): Promise<void> {
  const answers = await Promise.all(Array.from({ length: count }, (_, n) => call(n)));
  assert.deepEqual(
    answers.map(({ body }) => body),
    Array.from({ length: count }, (_, n) => n),
  );
}
