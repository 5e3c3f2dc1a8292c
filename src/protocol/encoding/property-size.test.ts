import { expect, it } from "vitest";
import { header } from "../codec.ts";
import { readEnvelope, republished, republishedCall } from "../envelope.ts";
import type { Message, Properties } from "../message.ts";
import { mostPropertyBytes, propertyBytes } from "./property-size.ts";

it("is what the specification adds up to", () => {
  // The content header of docs/protocol.md, 'A call in bytes': 128 bytes of payload.
  const call: Properties = {
    contentType: "application/json",
    type: "/bar",
    correlationId: "kVRn_1yM9Zw--2.0",
    replyTo: "amq.gen-lru5iM2NJqt_gXz_5MXn1A",
    appId: "Service-B",
    expiration: "4999",
    mandatory: true,
    headers: { [header.query]: "page=2" },
  };
  expect(propertyBytes(call)).toBe(128);
  expect(propertyBytes({ contentType: "application/json", correlationId: "kVRn_1yM9Zw--2.0" })).toBe(52);
});

it("is bound by the frame, and by the table that clients can write", () => {
  expect(mostPropertyBytes(4_096)).toBe(4_088);
  expect(mostPropertyBytes()).toBe(65_536);
});

const headersOf = (count: number, bytes: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`h${n}`, "ü".repeat(bytes / 2)]));

const message: Message = {
  body: new Uint8Array(1),
  properties: {
    type: `/${"t".repeat(250)}`,
    contentType: "application/json",
    messageId: "m".repeat(255),
    correlationId: "c".repeat(255),
    replyTo: "r".repeat(255),
    appId: "a".repeat(180),
    expiration: "1000",
    headers: headersOf(20, 400),
  },
};
const envelope = readEnvelope(message, { lane: "inbox", eventKey: undefined, newId: () => "new" });
const story = {
  [header.error]: "E",
  [header.errorMessage]: "m".repeat(2_000),
  [header.errorStack]: "s".repeat(6_000),
};

it.each([4_088, 8_184, 65_536])("copies fit into %i bytes, whatever they are copies of", (most) => {
  const copy = republished(message, envelope, story, most);
  expect(propertyBytes(copy.properties)).toBeLessThanOrEqual(most);
  expect(propertyBytes(republishedCall(message, envelope, most).properties)).toBeLessThanOrEqual(most);
  expect(copy.properties.headers).toMatchObject({
    [header.path]: envelope.path,
    [header.error]: "E",
    [header.from]: envelope.from,
    h0: "ü".repeat(200),
  });
});

it("a copy gives up its story before the sender's headers, and those from the last on", () => {
  const small = { ...message, properties: { ...message.properties, headers: headersOf(4, 400) } };
  const whole = republished(small, envelope, story, 4_088).properties.headers ?? {};
  expect(Object.keys(whole).filter((name) => name.startsWith("h"))).toEqual(["h0", "h1", "h2", "h3"]);
  expect(String(whole[header.errorMessage]).length).toBeLessThan(2_000);
  const many = republished(message, envelope, story, 4_088).properties.headers ?? {};
  const kept = Object.keys(many).filter((name) => /^h\d/.test(name));
  expect(kept).toEqual(Array.from(kept, (_, n) => `h${n}`));
});
