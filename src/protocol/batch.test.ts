import fc from "fast-check";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { isConfluoError } from "../errors.ts";
import {
  askForBatchLimit,
  batchCalls,
  batchLimitOf,
  batchReplies,
  bounced,
  CALLS_TYPE,
  callsIn,
  isBatchable,
  REPLIES_TYPE,
  repliesIn,
  withBatchLimit,
} from "./batch.ts";
import { decodeBody, EncodedMessage, encodeBody, header, userHeaders } from "./codec.ts";
import { readEnvelope, republishedCall } from "./envelope.ts";
import type { Message, Properties } from "./message.ts";
import { decodeReply, encodeErrorReply, encodeReply } from "./reply.ts";

const arrival = { lane: "calls", eventKey: undefined, newId: () => "new" } as const;
const asksForBatches = (message: Message): boolean => readEnvelope(message, arrival).asksForBatches;

const text = fc.string({ unit: "grapheme", maxLength: 30 });
const anyText = fc.string({ unit: "binary", maxLength: 30 });
const headerName = text.filter((name) => name !== "" && !/^(cc|bcc|x-.*|confluo-.*)$/i.test(name));
const body = fc.oneof(fc.jsonValue(), fc.constant(undefined));
const call: fc.Arbitrary<Message> = fc
  .record({
    id: anyText,
    path: text,
    ms: fc.integer({ min: 1, max: 2_147_483_647 }),
    query: fc.option(text, { nil: undefined }),
    own: fc.option(fc.dictionary(headerName, text), { nil: undefined }),
    body,
  })
  .map(({ id, path, ms, query, own, body }) => {
    const headers = query === undefined ? own : { ...own, [header.query]: query };
    return new EncodedMessage(encodeBody(body), {
      contentType: "application/json",
      correlationId: id,
      type: path,
      replyTo: "q",
      appId: "caller",
      expiration: String(ms),
      mandatory: true,
      ...(headers === undefined ? {} : { headers }),
    });
  });

function simple(properties: Partial<Properties> = {}, encoded = encodeBody(1)): EncodedMessage {
  const own = { contentType: "application/json", correlationId: "1", expiration: "100" } as const;
  return new EncodedMessage(encoded, { type: "/", replyTo: "q", ...own, ...properties });
}

/** All that a receiver makes of a call. */
function readOf(message: Message): unknown {
  const { correlationId, replyTo, expiration, contentType } = message.properties;
  const envelope = readEnvelope(message, arrival);
  const headers = Object.entries(userHeaders(message.properties.headers));
  return { correlationId, replyTo, expiration, contentType, envelope, headers, body: decodeBody(message) };
}

function gathered(json: string | Uint8Array, contentType: string): Message {
  return {
    body: typeof json === "string" ? Buffer.from(json) : json,
    properties: { contentType, replyTo: "q" },
  };
}

describe("calls", () => {
  it("come out of one message as they would have come by themselves", () => {
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 20 }), (calls) => {
        const message = batchCalls(calls as [Message, ...Message[]]);
        expect(callsIn(message)?.map(readOf)).toEqual(calls.map(readOf));
      }),
    );
  });

  it("have a body of their own, if they go on by themselves", () => {
    fc.assert(
      fc.property(call, (each) => {
        const [entry] = callsIn(batchCalls([each])) ?? [];
        const alone = { body: entry?.body ?? new Uint8Array(), properties: each.properties };
        expect(decodeBody(alone)).toEqual(decodeBody(each));
      }),
    );
  });

  it("go on by themselves as they came, whatever became of what was read of them", () => {
    const [entry] = callsIn(batchCalls([simple({}, encodeBody({ n: 1 }))])) ?? [];
    const body = decodeBody(entry as Message) as Record<string, unknown>;
    body.n = 2;
    body.self = body;
    expect(Buffer.from((entry as Message).body).toString()).toBe('{"n":1}');
  });

  it("are read anew only once, however many go on by themselves", () => {
    const calls = Array.from({ length: 50 }, (_, n) => simple({ correlationId: `${n}` }, encodeBody({ n })));
    const entries = callsIn(batchCalls(calls as unknown as [Message])) ?? [];
    const parse = vi.spyOn(JSON, "parse");
    expect(entries.map(({ body }) => Buffer.from(body).toString())).toEqual(
      calls.map((_, n) => `{"n":${n}}`),
    );
    expect(parse).toHaveBeenCalledTimes(1);
    parse.mockRestore();
  });

  it("have a body that nobody takes for one, where it is nested too deeply to be written", () => {
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    // Node from 26 on writes whatever is nested how deeply.
    const { stringify } = JSON;
    vi.spyOn(JSON, "stringify").mockImplementation((value: unknown) => {
      if (Array.isArray(value)) throw new RangeError("Maximum call stack size exceeded");
      return stringify(value);
    });
    onTestFinished(() => void vi.restoreAllMocks());
    const entries = callsIn(gathered(`[{"id":"1","body":${deep}},{"id":"2","body":7}]`, CALLS_TYPE)) ?? [];
    expect(entries.map(({ body }) => Buffer.from(body).toString())).toEqual([
      "It was nested too deeply to be written again.",
      "7",
    ]);
  });

  it("have a deadline that any broker takes", () => {
    const deadlines = [1, 5_000, "5000", 2 ** 31 - 1, 2 ** 31, 5e9, 1e30, 0, -1, 1.5, "1.5", ""];
    const list = JSON.stringify(deadlines.map((ms, n) => ({ id: `${n}`, ms })));
    const expirations = callsIn(gathered(list, CALLS_TYPE))?.map(({ properties }) => properties.expiration);
    const longest = "2147483647";
    expect(expirations).toEqual([
      "1",
      "5000",
      "5000",
      longest,
      longest,
      longest,
      longest,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("are refused where their answers would go to RabbitMQ's direct reply-to", () => {
    for (const replyTo of ["amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.AAAA.x"]) {
      const { body, properties } = gathered('[{"id":"1"}]', CALLS_TYPE);
      expect(() => callsIn({ body, properties: { ...properties, replyTo } })).toThrow("no queue");
    }
  });

  it("make a message that expires with the last of them and is returned if nobody takes it", () => {
    const calls = ["100", "9000", "200"].map((expiration, n) =>
      simple({ expiration, correlationId: `${n}` }),
    );
    expect(batchCalls(calls as unknown as [Message]).properties).toEqual({
      contentType: CALLS_TYPE,
      correlationId: "0",
      replyTo: "q",
      expiration: "9000",
      mandatory: true,
    });
  });

  it("say nothing of what holds its default", () => {
    const asked = askForBatchLimit(simple());
    const message = batchCalls([asked, simple({ correlationId: "2" }, encodeBody(undefined))]);
    expect(JSON.parse(Buffer.from(message.body).toString())).toEqual([
      { id: "1", path: "/", ms: 100, body: 1 },
      { id: "2", path: "/", ms: 100 },
    ]);
  });

  it("are in no message of another content type", () => {
    for (const contentType of ["application/json", REPLIES_TYPE, `${CALLS_TYPE};x`, ""])
      expect(callsIn(gathered('[{"id":"1"}]', contentType))).toBeUndefined();
    expect(callsIn({ body: Buffer.from("[]"), properties: {} })).toBeUndefined();
  });
});

describe("replies", () => {
  it("come out of one message as they would have come by themselves", () => {
    const reply = fc
      .record({
        id: anyText,
        status: fc.integer({ min: 100, max: 599 }),
        headers: fc.dictionary(headerName, text),
        body,
      })
      .map(({ id, ...parts }) => encodeReply(id, parts));
    fc.assert(
      fc.property(fc.array(reply, { minLength: 1, maxLength: 20 }), (replies) => {
        const entries = repliesIn(batchReplies(replies)) ?? [];
        const read = entries.map((entry) => {
          if (entry.kind === "again") throw new Error("a reply became a request to send again");
          return [entry.reply.properties.correlationId, decodeReply(entry.reply)];
        });
        expect(read).toEqual(replies.map((each) => [each.properties.correlationId, decodeReply(each)]));
      }),
    );
  });

  it("may be errors", () => {
    const json = '[{"id":"1","status":404,"error":"GONE","body":{"message":"m","data":[1]}}]';
    const [entry] = repliesIn(gathered(json, REPLIES_TYPE)) ?? [];
    expect(entry?.kind === "reply" && decodeReply(entry.reply)).toEqual({
      kind: "error",
      status: 404,
      error: { code: "GONE", message: "m", data: [1] },
    });
  });

  it("may ask for calls to be sent again", () => {
    fc.assert(
      fc.property(fc.array(anyText, { minLength: 1 }), (ids) => {
        expect(repliesIn(bounced(ids))).toEqual(ids.map((id) => ({ kind: "again", id })));
      }),
    );
    const [entry] = repliesIn(gathered('[{"id":"1","again":"yes"}]', REPLIES_TYPE)) ?? [];
    expect(entry?.kind).toBe("reply");
  });
});

describe("whatever a foreign client gathers", () => {
  const name = fc.oneof(
    fc.constantFrom("id", "path", "ms", "query", "headers", "body", "status", "error", "again", "__proto__"),
    anyText,
  );
  const entry = fc.oneof(
    fc.dictionary(name, fc.jsonValue()),
    fc.record({
      id: anyText,
      path: anyText,
      ms: fc.jsonValue(),
      headers: fc.dictionary(anyText, fc.jsonValue()),
    }),
    fc.jsonValue(),
  );
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.json().map((json) => Buffer.from(json)),
    fc.array(entry, { maxLength: 5 }).map((entries) => Buffer.from(JSON.stringify(entries))),
    fc.array(entry, { maxLength: 5 }).map((entries) => Buffer.from(JSON.stringify(entries).slice(1))),
  );

  function entriesOf<Entry>(read: () => readonly Entry[] | undefined): readonly Entry[] {
    try {
      return read() ?? [];
    } catch (error) {
      if (!isConfluoError(error, "MALFORMED_MESSAGE")) throw error;
      return [];
    }
  }

  it("is calls that can be read and published again, or MALFORMED_MESSAGE", () => {
    fc.assert(
      fc.property(hostile, (bytes) => {
        for (const each of entriesOf(() => callsIn(gathered(bytes, CALLS_TYPE)))) {
          expect(typeof each.properties.correlationId).toBe("string");
          decodeBody(each);
          const envelope = readEnvelope(each, arrival);
          const { expiration, type } = each.properties;
          expect(["string", "undefined"]).toContain(typeof type);
          expect(expiration === undefined || Number(expiration) >= 1).toBe(true);
          republishedCall(each, envelope);
          for (const value of Object.values(userHeaders(each.properties.headers)))
            expect(typeof value).toBe("string");
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("is replies that can be read, or MALFORMED_MESSAGE", () => {
    fc.assert(
      fc.property(hostile, (bytes) => {
        for (const each of entriesOf(() => repliesIn(gathered(bytes, REPLIES_TYPE)))) {
          if (each.kind === "again") expect(typeof each.id).toBe("string");
          else expect(["answer", "error"]).toContain(decodeReply(each.reply).kind);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("gives no object another prototype", () => {
    const json =
      '[{"id":"1","headers":{"__proto__":{"confluo-query":"a=1"},"h":"v"},"__proto__":{"path":"/"}}]';
    const [only] = callsIn(gathered(json, CALLS_TYPE)) ?? [];
    expect(only?.properties.type).toBeUndefined();
    expect(only === undefined ? only : userHeaders(only.properties.headers)).toEqual({ h: "v" });
    expect(readEnvelope(only as Message, arrival).query).toBe("");
  });

  it.each(["", "{", "{}", "[]", "null", "[1]", "[null]", '[{"id":1}]', '[{"id":"1"},{}]'])(
    "is MALFORMED_MESSAGE if it is %j",
    (json) => {
      for (const read of [
        () => callsIn(gathered(json, CALLS_TYPE)),
        () => repliesIn(gathered(json, REPLIES_TYPE)),
      ])
        expect(read).toThrow(expect.objectContaining({ code: "MALFORMED_MESSAGE" }));
    },
  );
});

describe("a message", () => {
  it("can travel with others if it is small JSON that has an id", () => {
    expect(isBatchable(simple(), 1_024)).toBe(true);
    expect(isBatchable(simple({}, encodeBody(undefined)), 1_024)).toBe(true);
    expect(isBatchable(simple({}, encodeBody("x".repeat(126))), 1_024)).toBe(true); // and two quotes
    expect(isBatchable(simple({}, encodeBody("x".repeat(127))), 1_024)).toBe(false);
    expect(isBatchable(simple({}, encodeBody("€".repeat(42))), 1_024)).toBe(true); // 128 bytes
    expect(isBatchable(simple({}, encodeBody("€".repeat(43))), 1_024)).toBe(false);
    const { properties, json } = simple();
    const { correlationId: _, ...nameless } = properties;
    expect(isBatchable({ body: Buffer.from("1"), json, properties: nameless }, 1_024)).toBe(false);
    expect(isBatchable({ body: Buffer.from("1"), properties }, 1_024)).toBe(false);
    const bytes = encodeBody(new Uint8Array(1));
    expect(isBatchable(new EncodedMessage(bytes, { ...properties, ...bytes }), 1_024)).toBe(false);
    expect(isBatchable(encodeErrorReply("1", 500, { code: "C", message: "m" }), 1_024)).toBe(false);
  });

  it("says how many calls its sender takes, if it says it in a header of ours", () => {
    const table = (value: unknown): Message => ({
      body: Buffer.from(""),
      properties: { headers: { [header.gather]: value } },
    });
    for (const [value, takes] of [
      ["calls.batch=1", 1],
      ["calls.batch=16", 16],
      ["calls.batch=9999", 9_999],
      // A later release may take batches from other queues, too.
      ["calls.batch2=64;calls.batch=16;calls.other=3", 16],
    ] as const)
      expect(batchLimitOf(table(value))).toBe(takes);
    for (const value of [
      "",
      // Of a release whose batches went to the queue for calls: it speaks for one instance.
      "16",
      "calls=16",
      "calls.batch2=16",
      "xcalls.batch=16",
      "calls.batch=0",
      "calls.batch=10000",
      "calls.batch= 16",
      "calls.batch=16\n",
      "0",
      "016",
      "10000",
      "1e3",
      " 16",
      "16\n",
      1.5,
      true,
      null,
      undefined,
      ["16"],
    ])
      expect(batchLimitOf(table(value))).toBeUndefined();
    expect(batchLimitOf({ body: Buffer.from(""), properties: {} })).toBeUndefined();
  });

  it("asks for its own reply queue, and then says no number itself", () => {
    const asked = askForBatchLimit(simple({ headers: { h: "v" } }));
    expect(asked.properties.headers).toEqual({ h: "v", [header.gather]: "q" });
    expect([asksForBatches(asked), batchLimitOf(asked)]).toEqual([true, undefined]);
    // Passed on to another service, or sent back.
    const { headers = {} } = asked.properties;
    expect(asksForBatches(simple({ headers, replyTo: "other" }))).toBe(false);
    const { replyTo: _, ...withoutReplyTo } = asked.properties;
    expect(asksForBatches({ body: asked.body, properties: withoutReplyTo })).toBe(false);
    for (const value of ["16", "?", "", 16, true])
      expect(asksForBatches(simple({ headers: { [header.gather]: value } }))).toBe(false);
    expect(askForBatchLimit({ body: Buffer.from(""), properties: {} }).properties).toEqual({});
  });

  it("keeps all else when it is given that header", () => {
    const message = withBatchLimit(simple({ headers: { h: "v" } }, encodeBody({ n: 1 })), 16);
    expect(message.properties.headers).toEqual({ h: "v", [header.gather]: "calls.batch=16" });
    expect([decodeBody(message), message.json]).toEqual([{ n: 1 }, '{"n":1}']);
    expect(batchLimitOf(message)).toBe(16);
  });
});

it("a call that goes on by itself has the body that came, whatever its handler did to it", () => {
  const body = Buffer.from('[{"id":"a","path":"/","body":{"n":1}},{"id":"b","path":"/","body":{"n":2}}]');
  const [, second] = callsIn({ body, properties: { contentType: CALLS_TYPE } }) ?? [];
  (second?.parsed?.value as { n: number }).n = 3;
  expect(Buffer.from(second?.body ?? []).toString()).toBe('{"n":2}');
});

it("more entries than anyone may gather are refused", () => {
  const many = gathered(`[${Array(257).fill('{"id":"a"}')}]`, CALLS_TYPE);
  expect(() => callsIn(many)).toThrow(/more than 256 entries/);
});
