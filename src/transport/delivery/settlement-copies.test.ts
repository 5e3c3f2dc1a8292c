import { describe, expect, it } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { header } from "../../protocol/codec.ts";
import { readEnvelope, unchangedCopy, waitHeaders } from "../../protocol/envelope.ts";
import { failedCopy } from "./settlement-copies.ts";

function original(headers: Readonly<Record<string, string>> = {}) {
  const properties = { type: "/orders", messageId: "m", appId: "shop", deliveryMode: 2, headers } as const;
  const message = { body: Buffer.from("{}"), properties };
  return {
    message,
    envelope: readEnvelope(message, { lane: "inbox", eventKey: undefined, newId: () => "" }),
  };
}

const last = { queue: "c.orders.inbox", instance: "i-2" };

describe("the copy of a message that failed", () => {
  it("says what the last failure was, and when the first one was", () => {
    const first = "2020-02-03T04:05:06.007Z";
    const failure = { error: new ConfluoError("TIMEOUT", "too slow"), retry: "final" } as const;
    const source = original({ [header.firstFailedAt]: first, [header.errorMessage]: "earlier", own: "x" });
    const { body, properties } = failedCopy(source, { ...last, failure, attempt: 3 }, undefined);
    expect(body).toBe(source.message.body);
    expect(properties).toMatchObject({ messageId: "m", deliveryMode: 2 });
    expect(properties.headers).toMatchObject({
      own: "x",
      [header.path]: "/orders",
      [header.from]: "shop",
      [header.attempt]: "3",
      [header.error]: "TIMEOUT",
      [header.errorMessage]: "too slow",
      [header.firstFailedAt]: first,
      [header.failedAt]: expect.stringMatching(/^\d{4}-.*Z$/),
      [header.queue]: "c.orders.inbox",
      [header.instance]: "i-2",
    });
  });

  it("is for the one subscription that failed", () => {
    const failure = { error: "no", retry: "final", subscription: "/a/*" } as const;
    const { properties } = failedCopy(original(), { ...last, failure, attempt: 1 }, undefined);
    expect(properties.headers).toMatchObject({ [header.subscription]: "/a/*" });
  });
});

describe("the copy of a message as it is", () => {
  it("keeps its failures so far, and says what is added", () => {
    const told = { [header.error]: "HANDLER_FAILED", [header.failedAt]: "then", own: "x" };
    const { properties } = unchangedCopy(original(told), { [header.deaths]: "1" }, undefined);
    expect(properties.headers).toMatchObject({ ...told, [header.deaths]: "1" });
  });
});

it("says of a wait only what is no default", () => {
  expect(waitHeaders({ restMs: 0, unclaimedMs: 0, expiresMs: undefined })).toEqual({});
  expect(waitHeaders({ restMs: 5, unclaimedMs: 7, expiresMs: 9 })).toEqual({
    [header.wait]: "5",
    [header.unclaimed]: "7",
    [header.expires]: "9",
  });
});
