import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readEnvelope } from "./envelope.ts";
import type { Properties } from "./message.ts";
import { republished } from "./republish.ts";

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
