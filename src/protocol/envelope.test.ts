import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { header } from "./codec.ts";
import { headerBytes } from "./encoding/property-size.ts";
import { messageIds, publishedEvent, readEnvelope, republished, republishedCall } from "./envelope.ts";
import type { Message, Properties, WireHeaders } from "./message.ts";

const newId = (): string => "new";
const body = Buffer.from("1");

describe("the envelope of a message", () => {
  it("of a call is its type, its correlation id and its sender", () => {
    const properties = { type: "/bar", correlationId: "c", appId: "caller" };
    expect(readEnvelope({ body, properties }, { lane: "calls", eventKey: undefined, newId })).toEqual({
      kind: "call",
      path: "/bar",
      from: "caller",
      messageId: "c",
      attempt: 1,
      waitMs: 0,
      unclaimedMs: 0,
      replay: "",
      deaths: 0,
      expiresMs: undefined,
      query: "",
      subscription: undefined,
      isGivenBack: false,
      noReturn: "it names no reply_to",
      isUnpublished: false,
      asksForBatches: false,
    });
  });

  it("of an event is its routing key, whatever its type says", () => {
    const properties = { type: "com.acme.Event", messageId: "m" };
    const envelope = readEnvelope({ body, properties }, { lane: "inbox", eventKey: "a%2Eb.c", newId });
    expect(envelope).toMatchObject({ kind: "event", path: "/a.b/c", messageId: "m" });
  });

  it("of a republished message is what its headers say", () => {
    const event = readEnvelope(
      { body, properties: { appId: "shop" } },
      { lane: "inbox", eventKey: "a.b", newId },
    );
    const letter = republished(
      { body, properties: {} },
      { ...event, attempt: 3 },
      { "confluo-subscription": "/a/*" },
    );
    expect(readEnvelope(letter, { lane: "inbox", eventKey: undefined, newId: () => "other" })).toEqual({
      kind: "event",
      path: "/a/b",
      from: "shop",
      messageId: "new",
      attempt: 3,
      waitMs: 0,
      unclaimedMs: 0,
      replay: "",
      deaths: 0,
      expiresMs: undefined,
      query: "",
      subscription: "/a/*",
      isGivenBack: false,
      noReturn: undefined,
      isUnpublished: false,
      asksForBatches: false,
    });
  });

  it("is found in anything that a foreign sender may write", () => {
    const junk = fc.anything();
    fc.assert(
      fc.property(
        fc.record({
          type: junk,
          messageId: junk,
          correlationId: junk,
          appId: junk,
          expiration: junk,
          headers: fc.oneof(fc.dictionary(fc.string(), junk), junk),
        }),
        (properties) => {
          const message = { body, properties: properties as Properties };
          const envelope = readEnvelope(message, { lane: "inbox", eventKey: undefined, newId });
          expect(envelope.kind === "send" || envelope.kind === "event").toBe(true);
          expect(typeof envelope.path).toBe("string");
          expect(envelope.messageId).not.toBe("");
          expect(envelope.attempt).toBeGreaterThanOrEqual(1);
        },
      ),
    );
  });
});

describe("a republished message", () => {
  it("keeps body, content type, message id and application headers, and nothing else", () => {
    const properties = {
      contentType: "application/json",
      messageId: "m",
      expiration: "400",
      replyTo: "somewhere",
      type: "/old",
      userId: "guest",
      headers: { keep: "me", CC: ["elsewhere"], "x-death": [{}], "confluo-attempt": "1" },
    };
    const envelope = readEnvelope({ body, properties }, { lane: "inbox", eventKey: undefined, newId });
    const copy = republished({ body, properties }, { ...envelope, attempt: 2 }, { "confluo-error": "E" });
    expect(copy).toEqual({
      body,
      properties: {
        contentType: "application/json",
        messageId: "m",
        deliveryMode: 2,
        mandatory: true,
        headers: {
          keep: "me",
          "confluo-kind": "send",
          "confluo-path": "/old",
          "confluo-attempt": "2",
          "confluo-error": "E",
        },
      },
    });
  });

  it("of a delayed event is to be published only in an inbox, and not of what came as an event", () => {
    const properties = { headers: { "confluo-kind": "publish", "confluo-path": "/e" } };
    const read = (lane: "calls" | "inbox" | "instance", eventKey?: string) => {
      const { kind, isUnpublished } = readEnvelope({ body, properties }, { lane, eventKey, newId });
      return [kind, isUnpublished];
    };
    expect(read("inbox")).toEqual(["event", true]);
    expect(read("inbox", "e")).toEqual(["event", false]);
    expect(read("instance", "e")).toEqual(["event", false]);
    expect(read("calls")).toEqual(["call", false]);
  });
});

it("gives every message of an instance an id of its own", () => {
  expect(new Set(Array.from({ length: 100 }, messageIds("i"))).size).toBe(100);
});

function copyOf(headers: WireHeaders, added: Readonly<Record<string, string>>): WireHeaders {
  const message = { body: new Uint8Array(), properties: { type: "/a", messageId: "m", headers } };
  const envelope = readEnvelope(message, { lane: "inbox", eventKey: undefined, newId: () => "new" });
  return republished(message, envelope, added).properties.headers ?? {};
}

const forged = {
  userId: "guest",
  priority: 9,
  clusterId: "c",
  timestamp: 1,
  contentEncoding: "identity",
  expiration: "1000",
  type: "/t",
  messageId: "m",
  correlationId: "c",
  replyTo: "r",
  appId: "a",
  contentType: "application/json",
  headers: {
    CC: "q",
    cc: ["q"],
    BCC: ["q"],
    Bcc: "q",
    "x-death": [{ queue: "q" }],
    "x-delivery-count": 3,
    "X-Own": "1",
    "confluo-wait": "5",
    "confluo-error": "E",
    h: "kept",
    n: 5,
  },
} as Properties;
const message: Message = { body: new Uint8Array([1]), properties: forged };
const envelope = readEnvelope(message, { lane: "inbox", eventKey: undefined, newId: () => "new" });

describe("a copy", () => {
  it("keeps all headers that confluo lets one send, whatever the story is", () => {
    const own = Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`h${n}`, "x".repeat(1_000)]));
    const stack = "錯".repeat(6_000);
    const copy = copyOf(own, {
      [header.error]: "HANDLER_FAILED",
      [header.errorMessage]: "錯".repeat(2_000),
      [header.errorStack]: stack,
      [header.queue]: "q",
    });
    expect(copy).toMatchObject({ ...own, [header.error]: "HANDLER_FAILED", [header.queue]: "q" });
    const kept = copy[header.errorStack] as string;
    expect(kept.length).toBeGreaterThan(1_000);
    expect(stack.startsWith(kept)).toBe(true);
    const bytes = Object.entries(copy).reduce((sum, [name, value]) => sum + headerBytes(name, `${value}`), 0);
    expect(bytes).toBeLessThanOrEqual(48 * 1024);
  });

  it("leaves a foreign sender's headers out where there is no room, and never what the message is", () => {
    const own = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`h${n}`, "x".repeat(1_000)]));
    const copy = copyOf(own, { [header.error]: "X", [header.errorStack]: "stack" });
    expect(copy).toMatchObject({ [header.path]: "/a", [header.error]: "X", h0: own.h0 });
    expect(copy.h59).toBeUndefined();
  });

  it("of a durable message has what is allowed, and nothing else of a foreign sender's", () => {
    expect(republished(message, { ...envelope, replay: "r-1" }, { "confluo-subscription": "/s" })).toEqual({
      body: message.body,
      properties: {
        contentType: "application/json",
        messageId: "m",
        deliveryMode: 2,
        timestamp: 1,
        mandatory: true,
        headers: {
          "confluo-kind": "send",
          "confluo-path": "/t",
          "confluo-attempt": "1",
          "confluo-subscription": "/s",
          "confluo-from": "a",
          "confluo-replay": "r-1",
          h: "kept",
          n: "5",
        },
      },
    });
  });

  it("keeps when the message was sent, and when it was due, if that can be written", () => {
    const headers = { "confluo-due": "2026-12-01T09:00:00.000Z" };
    expect(copyOf(headers, {})).toMatchObject(headers);
    for (const timestamp of [-1, 1.5, 2 ** 53, "1", { "!": "timestamp", value: 1 }, undefined]) {
      const sent = { ...message, properties: { ...forged, timestamp: timestamp as number } };
      expect(republished(sent, envelope, {}).properties).not.toHaveProperty("timestamp");
    }
  });

  it("keeps the encoding of a body that is packed: without it nobody could tell what the bytes are", () => {
    const packed = { ...message, properties: { ...forged, contentEncoding: "gzip" } };
    expect(republished(packed, envelope, {}).properties.contentEncoding).toBe("gzip");
    expect(republishedCall(packed, envelope).properties.contentEncoding).toBe("gzip");
    const odd = { ...message, properties: { ...forged, contentEncoding: "x".repeat(256) } };
    expect(republished(odd, envelope, {}).properties.contentEncoding).toBeUndefined();
  });

  it("of a delayed event stays one until it is published, and then is an event like any other", () => {
    const headers = {
      ...forged.headers,
      "confluo-kind": "publish",
      "confluo-path": "/e",
      "confluo-query": "q=1",
    };
    const waiting: Message = {
      ...message,
      properties: { ...forged, headers: { ...headers, "confluo-due": "then" } },
    };
    const due = readEnvelope(waiting, { lane: "inbox", eventKey: undefined, newId: () => "new" });
    expect(due).toMatchObject({ kind: "event", isUnpublished: true, path: "/e" });
    expect(republished(waiting, due, {}).properties.headers).toMatchObject({ "confluo-kind": "publish" });
    const published = {
      contentType: "application/json",
      messageId: "m",
      appId: "a",
      deliveryMode: 2,
      timestamp: 1,
      headers: { h: "kept", n: "5", "confluo-query": "q=1", "confluo-due": "then" },
    };
    expect(publishedEvent(waiting, due, undefined).properties).toEqual(published);
    expect(publishedEvent(waiting, due, 7).properties).toEqual({ ...published, expiration: "7" });
    const bare: Message = { body: message.body, properties: {} };
    expect(publishedEvent(bare, { ...due, from: "", query: "" }, undefined).properties).toEqual({
      messageId: "m",
      deliveryMode: 2,
    });
  });

  it("of a call has that and what answering needs", () => {
    expect(republishedCall(message, envelope).properties).toEqual({
      contentType: "application/json",
      type: "/t",
      correlationId: "c",
      replyTo: "r",
      appId: "a",
      expiration: "1000",
      mandatory: true,
      headers: { h: "kept", n: "5" },
    });
  });
});
