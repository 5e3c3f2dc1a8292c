/** Whatever comes from outside is read or refused with an error of confluo's, and what goes out comes back. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { errorFromWire, isConfluoError, RemoteError } from "../errors.ts";
import { eventKey, fitsShortString, parseTarget, pathOfKey } from "./address.ts";
import {
  checkHeaders,
  decodeBody,
  decodeQuery,
  encodeBody,
  encodeQuery,
  header,
  protocolHeader,
  userHeaders,
} from "./codec.ts";
import { headerBytes } from "./encoding/property-size.ts";
import { readEnvelope, republished } from "./envelope.ts";
import type { Message, Properties, WireHeaders } from "./message.ts";
import { decodeReply, encodeErrorReply, encodeReply } from "./reply.ts";

const text = fc.string({ unit: "grapheme", maxLength: 30 });
const anyText = fc.string({ unit: "binary", maxLength: 30 });
const junk = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withTypedArray: true,
});
const contentType = fc.oneof(
  fc.constantFrom(
    "application/json",
    "application/octet-stream",
    "application/json; charset=x",
    "a/b+json",
    "",
  ),
  anyText,
  junk,
);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.json().map((json) => new Uint8Array(Buffer.from(json))),
  fc.json().map((json) => new Uint8Array(Buffer.from(json.slice(0, -1)))),
);
const headers = fc.oneof(
  fc.dictionary(
    fc.oneof(fc.constantFrom<string>(...Object.values(header)), anyText),
    fc.oneof(anyText, junk),
  ),
  junk,
);

const message: fc.Arbitrary<Message> = fc.record({
  body: bytes,
  properties: fc.record(
    {
      contentType,
      contentEncoding: fc.oneof(fc.constantFrom("utf-8", "gzip"), junk),
      type: fc.oneof(anyText, junk),
      messageId: junk,
      correlationId: junk,
      appId: junk,
      expiration: fc.oneof(anyText, junk),
      headers,
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<Properties>,
});

/** What a reader gives back, or the code of the error of confluo's that it throws; any other error fails the test. */
function outcomeOf(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    if (!isConfluoError(error)) throw error;
    return error.code;
  }
}

describe("any message", () => {
  it("has a body that can be read, or is MALFORMED_MESSAGE", () => {
    fc.assert(
      fc.property(message, (received) => {
        const read = outcomeOf(() => ({ body: decodeBody(received) }));
        if (typeof read !== "object") expect(read).toBe("MALFORMED_MESSAGE");
      }),
      { numRuns: 1_000 },
    );
  });

  it("as a reply is an answer, an error or MALFORMED_MESSAGE", () => {
    fc.assert(
      fc.property(message, (received) => {
        const reply = outcomeOf(() => decodeReply(received));
        if (reply === "MALFORMED_MESSAGE") return;
        const { kind, status } = reply as ReturnType<typeof decodeReply>;
        expect(["answer", "error"]).toContain(kind);
        expect(Number.isInteger(status) && status >= 100 && status < 600).toBe(true);
        if (kind === "answer") return;
        const { error } = reply as ReturnType<typeof decodeReply> & { readonly kind: "error" };
        expect(errorFromWire(error, { service: "s", path: "/", status })).toBeInstanceOf(RemoteError);
      }),
      { numRuns: 1_000 },
    );
  });

  it("can be published again within AMQP's bounds, and is the same then", () => {
    fc.assert(
      fc.property(message, fc.constantFrom("calls", "inbox"), fc.option(anyText), (received, lane, key) => {
        const arrival = { lane, eventKey: key ?? undefined, newId: () => "new" } as const;
        const envelope = readEnvelope(received, arrival);
        const { properties } = republished(received, envelope, { [header.error]: "E" });
        const entries = Object.entries(properties.headers ?? {}) as [string, string][];
        const size = entries.reduce((sum, [name, value]) => sum + headerBytes(name, value), 0);
        expect(size).toBeLessThanOrEqual(48 * 1024);
        for (const [name, value] of entries) expect(fitsShortString(name) && typeof value).toBe("string");
        for (const id of [properties.messageId, properties.contentType ?? ""])
          expect(fitsShortString(id ?? "")).toBe(true);
        const again = readEnvelope(
          { body: received.body, properties },
          { lane, eventKey: undefined, newId: () => "other" },
        );
        const { kind, path, messageId, attempt } = again;
        expect({ path, messageId, attempt }).toEqual({
          path: envelope.path,
          messageId: envelope.messageId,
          attempt: envelope.attempt,
        });
        if (lane === "inbox") expect(kind).toBe(envelope.kind);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("anything", () => {
  it("for headers gives texts under names that are not the protocol's, and no prototype", () => {
    fc.assert(
      fc.property(headers, (table) => {
        const read = userHeaders(table as WireHeaders);
        expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
        for (const [name, value] of Object.entries(read)) {
          expect(typeof value).toBe("string");
          expect(name).not.toMatch(/^(confluo-|x-|cc$|bcc$)/i);
        }
        for (const name of Object.values(header))
          expect(["string", "undefined"]).toContain(typeof protocolHeader(table as WireHeaders, name));
      }),
      { numRuns: 1_000 },
    );
  });

  it("for a query gives texts and lists of them", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, fc.webQueryParameters()), (query) => {
        for (const value of Object.values(decodeQuery(query)).flat()) expect(typeof value).toBe("string");
      }),
    );
  });

  it("for the fields of an error gives a RemoteError", () => {
    fc.assert(
      fc.property(fc.record({ code: junk, message: junk, data: junk }), (error) => {
        const made = errorFromWire(error as object, { service: "s", path: "/", status: 500 });
        expect(typeof made.code === "string" && typeof made.message === "string").toBe(true);
      }),
    );
  });
});

describe("there and back", () => {
  it("go bodies of bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (body) => {
        const encoded = encodeBody(body);
        expect(decodeBody({ body: encoded.bytes, properties: encoded })).toEqual(body);
      }),
    );
  });

  it("go headers that may be sent", () => {
    fc.assert(
      fc.property(fc.dictionary(text, text), (table) => {
        const checked = outcomeOf(() => checkHeaders(table));
        if (checked === "INVALID_ARGUMENT") return;
        expect(userHeaders(checked as WireHeaders)).toEqual({ ...table });
      }),
    );
  });

  it("go queries, a list of one as its only value", () => {
    const value = fc.oneof(text, fc.integer(), fc.boolean());
    fc.assert(
      fc.property(fc.dictionary(text, fc.oneof(value, fc.array(value, { minLength: 1 }))), (query) => {
        const expected = Object.entries(query).map(([name, given]) => {
          const list = [given].flat().map(String);
          return [name, list.length === 1 ? list[0] : list] as const;
        });
        const encoded = outcomeOf(() => encodeQuery("", query));
        if (encoded === "INVALID_ARGUMENT") return; // too long
        const decoded = decodeQuery(encoded as string);
        expect(Object.entries(decoded)).toEqual(expected.toSorted(byNameAsIn(decoded)));
      }),
    );
  });

  it("go keys by way of their path", () => {
    fc.assert(
      fc.property(anyText, (key) => {
        const path = pathOfKey(key);
        const again = outcomeOf(() => eventKey(path));
        if (again !== "INVALID_ARGUMENT") expect(pathOfKey(again as string)).toBe(path);
      }),
    );
  });

  it("go targets, whatever their query", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (target) => {
        const { path, query } = parseTarget(target);
        const whole = target.startsWith("/") ? target : `/${target}`;
        expect(whole.includes("?") ? `${path}?${query}` : path).toBe(whole);
      }),
    );
  });

  it("go answers and errors", () => {
    const ok = fc.integer({ min: 100, max: 399 });
    fc.assert(
      fc.property(ok, fc.jsonValue(), (status, json) => {
        const body = JSON.parse(JSON.stringify(json)) as unknown;
        expect(decodeReply(encodeReply("c", { status, headers: {}, body }))).toEqual({
          kind: "answer",
          status,
          headers: {},
          body,
        });
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 400, max: 599 }), anyText, anyText, junk, (status, code, text, data) => {
        const reply = decodeReply(encodeErrorReply("c", status, { code, message: text, data }));
        expect(reply).toMatchObject({ kind: "error", status, error: { code: code.toWellFormed() } });
      }),
    );
  });
});

// Names that are numbers come first in any object.
function byNameAsIn(
  object: object,
): (a: readonly [string, unknown], b: readonly [string, unknown]) => number {
  const names = Object.keys(object);
  return ([a], [b]) => names.indexOf(a) - names.indexOf(b);
}
