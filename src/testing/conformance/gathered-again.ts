/** Calls that came in one message, and whose instance is gone or leaves. */

import assert from "node:assert/strict";
import { isConfluoError, type Reply, type Service } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { entriesIn, held, messageOf, queued } from "./mailbox.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

const COUNT = 16;
const numbers: readonly number[] = Array.from({ length: COUNT }, (_, n) => n);

export const gatheredAgain: Define = (it) => {
  it("runs the calls of an instance that is gone once more, one at a time, as what they were", async (bench) => {
    const { calls } = await sixteen(bench);
    const [message] = await bench.dieWith("worker", "calls.batch", 1);
    const ids = message === undefined ? [] : entriesIn(message).map(({ id }) => id);
    let running = 0;
    let most = 0;
    await bench.start("worker", (service) =>
      service.route("/:n", async ({ kind, params, query, headers, body, from, redelivered, messageId }) => {
        running += 1;
        most = Math.max(most, running);
        await new Promise(setImmediate);
        running -= 1;
        return { kind, n: params.n, query, headers, body, from, redelivered, messageId };
      }),
    );
    const bodies = (await Promise.all(calls)).map(({ body }) => body);
    assert.deepEqual(
      bodies,
      numbers.map((n) => ({
        kind: "call",
        n: String(n),
        query: { q: "1" },
        headers: { h: "v" },
        body: { n },
        from: "caller",
        redelivered: true,
        messageId: ids[n],
      })),
    );
    assert.equal(most, 1);
    for (const queue of ["calls", "calls.batch", "calls.again"] as const)
      assert.equal(await bench.depth("worker", queue), 0);
  });

  it("does not run again those whose caller has given up meanwhile", async (bench) => {
    const { calls, stops } = await sixteen(bench);
    await bench.dieWith("worker", "calls.batch", 1);
    for (const n of [0, 7, 15]) {
      stops[n]?.abort();
      assert.ok(isConfluoError(await rejection(calls[n] as Promise<Reply>), "CANCELLED"));
    }
    const ran: number[] = [];
    await bench.start("worker", (service) =>
      service.route("/:n", ({ params }) => void ran.push(Number(params.n))),
    );
    await Promise.all(calls.filter((_, n) => ![0, 7, 15].includes(n)));
    await eventually(async () => (await bench.depth("worker", "calls.again")) === 0, "all of them");
    assert.deepEqual(
      ran.toSorted((a, b) => a - b),
      numbers.filter((n) => ![0, 7, 15].includes(n)),
    );
  });

  it("does not run again those whose caller is gone", async (bench) => {
    const { caller, calls } = await sixteen(bench);
    await bench.dieWith("worker", "calls.batch", 1);
    await caller.shutdown({ timeoutMs: 1 });
    await Promise.allSettled(calls);
    const ran: unknown[] = [];
    await bench.start("worker", (service) => service.route("/:n", ({ params }) => void ran.push(params.n)));
    // What stands before the next call in the queue has been dealt with when that is answered.
    const next = await bench.start("caller");
    await next.call("worker", "/next");
    await eventually(async () => (await bench.depth("worker", "calls.again")) === 0, "nothing to try again");
    await next.call("worker", "/last");
    assert.deepEqual(ran, ["next", "last"]);
  });

  it("does not run again those that were answered before the instance was gone", async (bench) => {
    const { calls } = await sixteen(bench);
    const client = await bench.foreign();
    const answered = signalled();
    await client.consume({
      queue: bench.queue("worker", "calls.batch"),
      prefetch: 1,
      onCancelled: () => undefined,
      onDelivery: ({ message }) => {
        const { replyTo = "" } = message.properties;
        const half = entriesIn(message).slice(0, COUNT / 2);
        for (const { id } of half) {
          const reply = messageOf('"before"', { correlationId: id });
          client.publish({ exchange: "", key: replyTo }, reply, () => answered.resolve());
        }
      },
    });
    await Promise.all([answered.promise, ...calls.slice(0, COUNT / 2)]);
    await client.close();
    const ran: number[] = [];
    await bench.start("worker", (service) =>
      service.route("/:n", ({ params }) => void ran.push(Number(params.n))),
    );
    await Promise.all(calls);
    assert.deepEqual(
      ran.toSorted((a, b) => a - b),
      numbers.slice(COUNT / 2),
    );
  });

  it("answers one with INSTANCE_LOST that was fatal alone, too, and the others as they are", async (bench) => {
    const { calls } = await sixteen(bench);
    await bench.dieWith("worker", "calls.batch", 1);
    const died = bench.dieWith("worker", "calls.again", 1);
    const again = bench.queue("worker", "calls.again");
    await eventually(async () => (await bench.broker.queue(again))?.consumers === 1, "a consumer");
    await bench.start("worker", (service) => service.route("/:n", ({ params }) => params.n));
    const [lost] = await died;
    const n = Number(lost?.properties.type?.slice(1));
    for (const [each, call] of calls.entries()) {
      if (each !== n) assert.equal((await call).body, String(each));
      else {
        const error = await rejection(call);
        assert.ok(isConfluoError(error) && error.code === "INSTANCE_LOST", String(error));
        assert.equal(error.status, 502);
      }
    }
  });

  it("answers those for which there is no route at once, when an instance that had them is gone", async (bench) => {
    const { calls } = await sixteen(bench);
    await bench.dieWith("worker", "calls.batch", 1);
    await bench.start("worker", (service) => service.route("/0", () => "known"));
    for (const [n, call] of calls.entries()) {
      if (n === 0) assert.equal((await call).body, "known");
      else assert.ok(isConfluoError(await rejection(call), "NO_SUCH_ROUTE"));
    }
  });

  it("has another instance run what a shutdown does not wait for, begun or not, and nothing that was answered", async (bench) => {
    const { calls } = await sixteen(bench);
    const begun: number[] = [];
    const stuck = signalled();
    const setUp = (service: Service): Service =>
      service.route("/:n", ({ params }) => {
        const n = Number(params.n);
        begun.push(n);
        if (n < 4) return "first";
        if (n === 5) stuck.resolve();
        return new Promise(() => undefined);
      });
    const first = await bench.start("worker", setUp, { concurrency: { calls: 2 } });
    await stuck.promise;
    await Promise.all(calls.slice(0, 4));
    await first.shutdown({ timeoutMs: 1 });
    assert.deepEqual(begun, [0, 1, 2, 3, 4, 5]);
    const ran: number[] = [];
    await bench.start("worker", (service) =>
      service.route("/:n", ({ params, body, query, headers, redelivered }) => {
        ran.push(Number(params.n));
        return { body, query, headers, redelivered };
      }),
    );
    for (const [n, call] of calls.entries()) {
      const again = { body: { n }, query: { q: "1" }, headers: { h: "v" }, redelivered: true };
      assert.deepEqual((await call).body, n < 4 ? "first" : again);
    }
    assert.deepEqual(
      ran.toSorted((a, b) => a - b),
      numbers.slice(4),
    );
  });

  it("gives a call back as it came, whatever its handler did to the body", async (bench) => {
    const { calls } = await sixteen(bench);
    let begun = 0;
    const first = await bench.start("worker", (service) =>
      service.route("/:n", ({ body }) => {
        (body as { n: number }).n += 100;
        begun += 1;
        return new Promise(() => undefined);
      }),
    );
    await eventually(() => begun === COUNT, "all of them");
    await first.shutdown({ timeoutMs: 1 });
    await bench.start("worker", (service) => service.route("/:n", ({ body }) => body));
    for (const [n, call] of calls.entries()) assert.deepEqual((await call).body, { n });
  });

  it("gives calls back though a handler made of a body what is no JSON any more", async (bench) => {
    const { calls } = await sixteen(bench);
    let begun = 0;
    const first = await bench.start("worker", (service) =>
      service.route("/:n", ({ params, body }) => {
        if (params.n === "7") Object.assign(body as object, { self: body });
        begun += 1;
        return new Promise(() => undefined);
      }),
    );
    await eventually(() => begun === COUNT, "all of them");
    await first.shutdown({ timeoutMs: 1 });
    await bench.start("worker", (service) => service.route("/:n", ({ body }) => body));
    for (const [n, call] of calls.entries()) assert.deepEqual((await call).body, { n });
  });

  it("answers what it has begun before it shuts down, and leaves the rest to the next", async (bench) => {
    const { calls } = await sixteen(bench);
    const { free, release } = held();
    let begun = 0;
    const setUp = (service: Service): Service =>
      service.route("/:n", async ({ params }) => {
        begun += 1;
        await free;
        return params.n;
      });
    const worker = await bench.start("worker", setUp, { concurrency: { calls: 2 } });
    await eventually(() => begun === 2, "the first two");
    const down = worker.shutdown();
    await eventually(async () => (await bench.depth("worker", "calls")) === 14, "the rest in the queue");
    release();
    await down;
    assert.equal(begun, 2);
    await bench.start("worker", setUp);
    const bodies = (await Promise.all(calls)).map(({ body }) => body);
    assert.deepEqual(bodies, numbers.map(String));
    assert.equal(begun, numbers.length);
    for (const queue of ["calls", "calls.batch", "calls.again"] as const)
      assert.equal(await bench.depth("worker", queue), 0);
  });

  it("says when a caller shuts down what became of each of its calls", async (bench) => {
    const { caller, calls } = await sixteen(bench);
    const worker = await bench.start("worker", (service) =>
      service.route("/:n", ({ params }) => (params.n === "3" ? new Promise(() => undefined) : params.n)),
    );
    await Promise.all(calls.filter((_, n) => n !== 3));
    const stuck = rejection(calls[3] as Promise<Reply>);
    await caller.shutdown({ timeoutMs: 1 });
    assert.ok(isConfluoError(await stuck, "SHUTTING_DOWN"), String(await stuck));
    await worker.shutdown({ timeoutMs: 1 });
  });
};

/** Sixteen calls in one message, in the queue of a service that is not there. */
async function sixteen(bench: Bench): Promise<{
  readonly caller: Service;
  readonly calls: readonly Promise<Reply>[];
  readonly stops: readonly AbortController[];
}> {
  bench.broker.gathersEagerly = true;
  const caller = await bench.start("caller", undefined, { batching: { maxCalls: COUNT } });
  const stops = numbers.map(() => new AbortController());
  const call = (): readonly Promise<Reply>[] =>
    stops.map(({ signal }, n) => caller.call("worker", `/${n}?q=1`, { n }, { signal, headers: { h: "v" } }));
  return { caller, stops, calls: await queued(bench, { caller, messages: 1, call }) };
}
