/** Gathered messages of foreign clients: what they have to say is heard, and what is wrong with it harms nobody. */

import assert from "node:assert/strict";
import { type AmqpClient, isConfluoError, type Message } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { absent, asker, CALLS, entriesIn, messageOf, REPLIES, standIn, textOf } from "./mailbox.ts";
import { type Bench, type Define, rejection, signalled } from "./suite.ts";

/** JSON that can be read and not be written. */
const DEEP: string = "[".repeat(50_000) + "]".repeat(50_000);

export const foreignGathering: Define = (it) => {
  it("answers each call of a message that a foreign client has made", async (bench) => {
    await echoing(bench);
    const client = await asker(bench);
    const calls = [
      {
        id: "1",
        path: "/echo/a",
        ms: 5_000,
        query: "q=1",
        headers: { h: "v", n: 7, deep: {} },
        body: { a: [null, "€"] },
      },
      { id: "2", path: "echo/b" },
      { id: "3", path: "/nowhere", ms: 5_000, body: 3 },
      { id: "4", path: "/echo/d", ms: 5_000, body: null, unknown: "field" },
    ];
    await send(bench, JSON.stringify(calls), { replyTo: client.replyTo, appId: "legacy" });
    const common = { redelivered: false, from: "legacy" } as const;
    assert.deepEqual((await client.answer("1")).body, {
      ...common,
      path: "/echo/a",
      query: { q: "1" },
      headers: { h: "v", n: "7" },
      body: { a: [null, "€"] },
    });
    const none = { query: {}, headers: {} } as const;
    assert.deepEqual((await client.answer("2")).body, { ...common, path: "/echo/b", ...none });
    const { status, error } = await client.answer("3");
    assert.deepEqual([status, error], [404, "NO_SUCH_ROUTE"]);
    assert.deepEqual((await client.answer("4")).body, { ...common, path: "/echo/d", ...none, body: null });
  });

  it("reads nothing from a field of an entry that is not of its type, and runs the call", async (bench) => {
    await echoing(bench);
    const client = await asker(bench);
    const odd = [0, -1, 1.5, 1e30, "5000", null, true, [], {}, "x".repeat(1_000)];
    const calls = odd.flatMap((value, n) => [
      { id: `ms ${n}`, path: "/echo/x", ms: value },
      { id: `query ${n}`, path: "/echo/x", ms: 5_000, query: typeof value === "string" ? 5 : value },
      { id: `headers ${n}`, path: "/echo/x", ms: 5_000, headers: value },
      { id: `again ${n}`, path: "/echo/x", ms: 5_000, again: value, status: value, error: value },
    ]);
    await send(bench, JSON.stringify(calls), { replyTo: client.replyTo });
    for (const { id } of calls) {
      const { body, error } = await client.answer(id);
      const plain = { path: "/echo/x", query: {}, headers: {}, from: "", redelivered: false };
      assert.deepEqual([body, error], [plain, undefined], id);
    }
  });

  it("takes a key of a prototype for what it is: a key", async (bench) => {
    await echoing(bench);
    const client = await asker(bench);
    const hostile = '{"confluo-query":"q=1","toString":"t","polluted":"yes"}';
    await send(
      bench,
      `[{"id":"1","path":"/echo/x","ms":5000,"__proto__":${hostile},"headers":{"__proto__":${hostile},"h":"v"},
        "body":{"__proto__":${hostile},"constructor":{"prototype":${hostile}}}}]`,
      { replyTo: client.replyTo },
    );
    const { body } = await client.answer("1");
    const { headers, query } = body as { readonly headers: object; readonly query: object };
    assert.deepEqual([headers, query], [{ h: "v" }, {}]);
    assert.equal(({} as { readonly polluted?: unknown }).polluted, undefined);
  });

  for (const [what, body] of [
    ["no JSON", "[{"],
    ["nothing at all", ""],
    ["no UTF-8", Uint8Array.of(0x5b, 0x22, 0xff, 0x22, 0x5d)],
    ["no list", '{"id":"1","path":"/echo/x"}'],
    ["a list of nothing", "[]"],
    ["a list of what are no entries", '[[],1,null,"x"]'],
    ["one entry without an id among others", '[{"id":"1","path":"/echo/x"},{"path":"/echo/x"}]'],
    ["an id that is no text", '[{"id":7,"path":"/echo/x"}]'],
  ] as const) {
    it(`refuses a message with ${what} as a whole as MALFORMED_MESSAGE, and goes on`, async (bench) => {
      const { ran } = await echoing(bench);
      const client = await asker(bench);
      for (const properties of [{}, { type: "/echo/x" }]) {
        const correlationId = `whole ${Object.keys(properties)}`;
        await send(bench, body, { ...properties, replyTo: client.replyTo, correlationId });
        assert.equal((await client.answer(correlationId)).error, "MALFORMED_MESSAGE");
      }
      await send(bench, body, {});
      const dead = await bench.takeDead("worker");
      assert.equal(dead.properties.headers?.["confluo-error"], "MALFORMED_MESSAGE");
      assert.ok(Buffer.from(body).equals(dead.body));
      assert.deepEqual(ran, []);
      await goesOn(bench);
    });
  }

  it("refuses an entry without a path as MALFORMED_MESSAGE, and runs its neighbours", async (bench) => {
    await echoing(bench);
    const client = await asker(bench);
    const paths = [undefined, "", 7, null, {}];
    const calls = paths.map((path, n) => ({ id: `${n}`, path }));
    await send(bench, JSON.stringify([...calls, { id: "fine", path: "/echo/x" }]), {
      replyTo: client.replyTo,
    });
    for (const { id } of calls) assert.equal((await client.answer(id)).error, "MALFORMED_MESSAGE", id);
    assert.equal((await client.answer("fine")).error, undefined);
  });

  it("dead-letters every call of a message that names nobody to answer", async (bench) => {
    const { ran } = await echoing(bench);
    await send(bench, '[{"id":"1","path":"/echo/a","body":1},{"id":"2","path":"/echo/b"}]', {});
    const letters = [await bench.takeDead("worker"), await bench.takeDead("worker")];
    letters.sort((a, b) => String(pathOf(a)).localeCompare(String(pathOf(b))));
    assert.deepEqual(letters.map(pathOf), ["/echo/a", "/echo/b"]);
    assert.deepEqual(letters.map(textOf), ["1", ""]);
    for (const { properties } of letters) {
      assert.equal(properties.headers?.["confluo-error"], "MALFORMED_MESSAGE");
      assert.equal(properties.contentType, "application/json");
    }
    assert.deepEqual(ran, []);
    await eventually(async () => (await bench.depth("worker", "calls")) === 0, "an empty queue");
    await goesOn(bench);
  });

  it("dead-letters calls that are nested too deeply to be written again, and leaves nothing behind", async (bench) => {
    await echoing(bench);
    await send(
      bench,
      `[{"id":"1","path":"/echo/a","body":${DEEP}},{"id":"2","path":"/echo/b","body":7}]`,
      {},
    );
    const letters = [await bench.takeDead("worker"), await bench.takeDead("worker")];
    letters.sort((a, b) => String(pathOf(a)).localeCompare(String(pathOf(b))));
    const body = textOf(letters[0] as Message);
    if (isWritable(DEEP)) assert.equal(body, DEEP);
    else assert.match(body, /nested too deeply/);
    assert.equal(textOf(letters[1] as Message), "7");
    await goesOn(bench);
  });

  it("gives back what waits, however it is nested and however long it may wait", async (bench) => {
    const [begun, over] = [signalled(), signalled()];
    const worker = await bench.start(
      "worker",
      (service) =>
        service.route("/echo/:x", async () => {
          begun.resolve();
          await over.promise;
        }),
      { concurrency: { calls: 1 } },
    );
    const client = await asker(bench);
    const calls = `[{"id":"runs","path":"/echo/x"},{"id":"deep","path":"/echo/x","ms":9000,"body":${DEEP}},
      {"id":"long","path":"/echo/x","ms":5000000000},{"id":"longer","path":"/echo/x","ms":1e21,"body":1}]`;
    await send(bench, calls, { replyTo: client.replyTo });
    await begun.promise;
    const stopping = worker.shutdown({ timeoutMs: 5_000 });
    await eventually(async () => (await bench.depth("worker", "calls")) === 3, "what waited, given back");
    over.resolve();
    await stopping;
    await bench.start("worker", (service) => service.route("/echo/:x", ({ body }) => ({ body })));
    for (const id of ["runs", "long", "longer"]) assert.equal((await client.answer(id)).error, undefined, id);
    assert.equal((await client.answer("deep")).error, isWritable(DEEP) ? undefined : "MALFORMED_MESSAGE");
  });

  it("dead-letters a call whose id could not be written on an answer, and runs its neighbours", async (bench) => {
    await echoing(bench);
    const client = await asker(bench);
    const calls = ["x".repeat(256), "\uD800", "fine"].map((id) => ({ id, path: "/echo/x", ms: 5_000 }));
    await send(bench, JSON.stringify(calls), { replyTo: client.replyTo });
    await client.answer("fine");
    for (let n = 0; n < 2; n += 1)
      assert.equal(
        (await bench.takeDead("worker")).properties.headers?.["confluo-error"],
        "MALFORMED_MESSAGE",
      );
    assert.equal(client.answers.size, 1);
  });

  it("answers paths that no route could have, and as many calls as a message may hold", async (bench) => {
    await echoing(bench);
    const client = await asker(bench);
    const paths = ["x".repeat(300), "\uD800", "/echo/\u0000", "//", "/..", "/__proto__", "/echo/%2f?q=1#"];
    const many = Array.from({ length: 240 }, (_, n) => ({ id: `many ${n}`, path: "/echo/x", ms: 9_000 }));
    const calls = paths.map((path, n) => ({ id: `odd ${n}`, path, ms: 9_000 }));
    await send(bench, JSON.stringify([...calls, ...many]), { replyTo: client.replyTo });
    await eventually(() => client.answers.size === calls.length + many.length, "all answers");
    for (const { id } of many) assert.equal(client.answers.get(id)?.error, undefined);
  });

  it("answers every call of a message that uses one id for all", async (bench) => {
    const { ran } = await echoing(bench);
    const client = await asker(bench);
    const calls = ["a", "b", "c"].map((x) => ({ id: "", path: `/echo/${x}`, ms: 5_000 }));
    await send(bench, JSON.stringify(calls), { replyTo: client.replyTo });
    await eventually(() => client.replies.flatMap(entriesIn).length === 3, "three answers");
    assert.deepEqual(ran, ["/echo/a", "/echo/b", "/echo/c"]);
  });

  it("does a caller no harm, whatever a foreign service sends as gathered replies", async (bench) => {
    const caller = await bench.start("caller");
    await absent(bench, "foreigner");
    const garbage = [
      "",
      "{",
      "{}",
      "[]",
      "[1,null,[]]",
      '[{"again":true}]',
      '[{"id":"unknown","again":true},{"id":"","body":1},{"id":"never.asked.zz"}]',
      '[{"id":"constructor"},{"id":"__proto__","__proto__":{"body":1}},{"id":"length"},{"id":".0"},{"id":"x.-1"}]',
    ];
    await standIn(bench, "foreigner", (message, wire) => {
      for (const body of garbage) reply(wire, message, body);
      const [{ id }] = entriesIn(message) as [{ id: string }];
      const odd = { status: {}, error: 5, headers: { h: "v", n: 1, __proto__: 1 }, again: "yes", ms: 1 };
      reply(
        wire,
        message,
        JSON.stringify([
          { id, ...odd, body: "fine" },
          { id, body: "twice" },
        ]),
      );
    });
    for (let n = 0; n < 3; n += 1) {
      const answer = await caller.call("foreigner", "/");
      assert.deepEqual(answer, { status: 200, headers: { h: "v", n: "1" }, body: "fine" });
    }
    assert.equal(caller.state, "running");
  });

  it("takes the status and the error of an entry for those of the reply", async (bench) => {
    const caller = await bench.start("caller");
    await absent(bench, "foreigner");
    const answers = [
      { status: 201, body: 1 },
      { status: 404, error: "GONE", body: { message: "it is gone", data: [1] } },
      { error: "ODD" },
      { status: 99 },
    ];
    await standIn(bench, "foreigner", (message, wire) => {
      const entries = entriesIn(message).map(({ id, path = "" }) => ({
        id,
        ...answers[Number(path.slice(1))],
      }));
      reply(wire, message, JSON.stringify(entries));
    });
    const call = (n: number): Promise<unknown> => caller.call("foreigner", `/${n}`);
    assert.deepEqual(await call(0), { status: 201, headers: {}, body: 1 });
    const gone = await rejection(call(1));
    assert.ok(isConfluoError(gone) && gone.code === "GONE" && gone.status === 404, String(gone));
    assert.deepEqual([gone.message, gone.data], ["it is gone", [1]]);
    const odd = await rejection(call(2));
    assert.ok(isConfluoError(odd) && odd.code === "ODD" && odd.status === 500, String(odd));
    assert.deepEqual(await call(3), { status: 200, headers: {}, body: undefined });
  });

  it("sends a call again once, by itself, when it is told to, and none that is over", async (bench) => {
    bench.broker.gathersEagerly = true;
    const caller = await bench.start("caller");
    await absent(bench, "foreigner");
    const { messages } = await standIn(bench, "foreigner");
    const wire = await bench.foreign();
    const stop = new AbortController();
    const over = rejection(caller.call("foreigner", "/over", undefined, { signal: stop.signal }));
    const call = caller.call("foreigner", "/once?q=1", { n: 1 }, { headers: { h: "v" } });
    await eventually(() => messages.length === 1, "both calls");
    stop.abort();
    await over;
    const [message] = messages as readonly [Message];
    const entries = entriesIn(message);
    const again = JSON.stringify(entries.map(({ id }) => ({ id, again: true })));
    const taken: Message[] = [];
    await wire.consume({
      queue: bench.queue("foreigner", "calls.again"),
      prefetch: "no-ack",
      onCancelled: () => undefined,
      onDelivery: ({ message: single }) => {
        taken.push(single);
        const { correlationId = "" } = single.properties;
        // After all that the caller was told before.
        reply(wire, message, JSON.stringify([{ id: correlationId, body: "alone" }]));
      },
    });
    for (let n = 0; n < 3; n += 1) reply(wire, message, again);
    assert.equal((await call).body, "alone");
    reply(wire, message, again);
    assert.equal(taken.length, 1);
    const [single] = taken as [Message];
    const { type, correlationId, contentType, headers } = single.properties;
    assert.deepEqual(
      { type, correlationId, contentType, headers },
      {
        type: "/once",
        correlationId: entries[1]?.id,
        contentType: "application/json",
        headers: { "confluo-query": "q=1", h: "v" },
      },
    );
    assert.equal(textOf(single), '{"n":1}');
  });
};

async function echoing(bench: Bench): Promise<{ readonly ran: readonly string[] }> {
  const ran: string[] = [];
  await bench.start("worker", (service) =>
    service.route("/echo/:x", ({ path, query, headers, body, from, redelivered }) => {
      ran.push(path);
      return { path, query, headers, body, from, redelivered };
    }),
  );
  return { ran };
}

async function goesOn(bench: Bench): Promise<void> {
  const caller = await bench.start("caller");
  const { body } = await caller.call("worker", "/echo/still", 1);
  assert.equal((body as { readonly body: unknown }).body, 1);
}

function send(bench: Bench, body: string | Uint8Array, properties: Message["properties"]): Promise<void> {
  return bench.publishForeign("", bench.queue("worker", "calls"), body, {
    contentType: CALLS,
    ...properties,
  });
}

function reply(wire: AmqpClient, { properties: { replyTo = "" } }: Message, body: string): void {
  wire.post(replyTo, messageOf(body, { contentType: REPLIES }));
}

function pathOf({ properties }: Message): unknown {
  return properties.headers?.["confluo-path"];
}

/** Whether what is read from a JSON text can be written again, as Node from 26 on can whatever is nested how deeply. */
function isWritable(json: string): boolean {
  try {
    JSON.stringify(JSON.parse(json));
    return true;
  } catch {
    return false;
  }
}
