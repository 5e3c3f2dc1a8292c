import { describe, expect, it } from "vitest";
import { EVENTS_TYPE, eventsIn } from "./batch.ts";
import { decodeBody, header } from "./codec.ts";
import type { Message, Properties } from "./message.ts";

describe("gathered events", () => {
  const gathered = (entries: unknown, own: Properties = {}): Message => ({
    body: Buffer.from(JSON.stringify(entries)),
    properties: {
      contentType: EVENTS_TYPE,
      messageId: "a",
      appId: "web",
      deliveryMode: 2,
      timestamp: 5,
      ...own,
    },
  });

  it("are events with what their message says, and an id, body, query and headers of their own", () => {
    const [first, second] = eventsIn(
      gathered([
        { id: "a", body: [1] },
        { id: "b", query: "x=1", headers: { tenant: "t", n: 1, "confluo-attempt": "4", "x-death": "d" } },
      ]),
    );
    expect(first?.properties).toEqual({
      contentType: "application/json",
      messageId: "a",
      appId: "web",
      deliveryMode: 2,
      timestamp: 5,
      headers: {},
    });
    expect([decodeBody(first as Message), second && decodeBody(second)]).toEqual([[1], undefined]);
    expect(second?.properties).toMatchObject({
      messageId: "b",
      headers: { [header.query]: "x=1", tenant: "t", n: "1" },
    });
    expect(Object.keys(second?.properties.headers ?? {})).toHaveLength(3);
    expect(Buffer.from(first?.body ?? []).toString()).toBe("[1]");
  });

  it("have what a copy of their message says of them, and nothing else of its headers", () => {
    const headers = {
      "confluo-kind": "event",
      "confluo-path": "/clicks",
      "confluo-query": "q",
      h: "1",
      "x-death": [],
    };
    const [event] = eventsIn(gathered([{ id: "a" }], { headers, contentEncoding: "identity" }));
    expect(event?.properties).not.toHaveProperty("contentEncoding");
    expect(event?.properties.headers).toEqual({ "confluo-kind": "event", "confluo-path": "/clicks" });
  });

  it("are malformed if there are none or too many, or one has no id", () => {
    const many = Array.from({ length: 65 }, (_, n) => ({ id: String(n) }));
    expect(eventsIn(gathered(many.slice(1)))).toHaveLength(64);
    for (const entries of [many, [], {}, "x", [{ body: 1 }], [null]])
      expect(() => eventsIn(gathered(entries))).toThrow(/cannot be read/);
  });
});
