import { describe, expect, it } from "vitest";
import { header, protocolHeader, userHeaders } from "../codec.ts";
import { readEnvelope } from "../envelope.ts";
import { decodeReply } from "../reply.ts";

const decimal = (digits: number, places: number) => ({ "!": "decimal", value: { digits, places } });
const timestamp = (value: unknown) => ({ "!": "timestamp", value });

describe("a value of a header table", () => {
  it.each([
    ["404", "404"],
    [404, "404"],
    [404.0, "404"],
    [-5, "-5"],
    [404n, "404"],
    [9_007_199_254_740_993n, "9007199254740993"],
    [true, "true"],
    [false, "false"],
    [decimal(404, 0), "404"],
    [decimal(40_400, 2), "404"],
    [decimal(15, 1), "1.5"],
    [timestamp(0), "1970-01-01T00:00:00.000Z"],
  ])("is read as text if it is a scalar: %o", (value, text) => {
    expect(protocolHeader({ [header.status]: value }, header.status)).toBe(text);
    expect(userHeaders({ own: value })).toEqual({ own: text });
  });

  it.each([
    null,
    undefined,
    [404],
    { status: 404 },
    { "!": "decimal" },
    decimal("4" as never, 0),
    timestamp("soon"),
    { "!": "other", value: 404 },
    { "!": "timestamp", value: 1e300 },
  ])("is left out if it is none: %o", (value) => {
    expect(protocolHeader({ [header.status]: value }, header.status)).toBeUndefined();
    expect(userHeaders({ own: value })).toEqual({});
  });

  it("is read as text where a client wrote bytes, in the protocol's headers alone", () => {
    expect(protocolHeader({ [header.error]: Buffer.from("GONE") }, header.error)).toBe("GONE");
    expect(protocolHeader({ [header.error]: Uint8Array.of(0xff) }, header.error)).toBeUndefined();
    expect(userHeaders({ own: Buffer.from("x") })).toEqual({});
  });

  it("means what the same text does, whatever header it is of", () => {
    const values = { attempt: 7, wait: 250, unclaimed: 3n, deaths: decimal(1, 0), expires: 5_000 };
    const named = (texts: boolean): Record<string, unknown> =>
      Object.fromEntries(
        Object.entries(values).map(([name, value]) => [
          header[name as keyof typeof values],
          texts ? { attempt: "7", wait: "250", unclaimed: "3", deaths: "1", expires: "5000" }[name] : value,
        ]),
      );
    const read = (headers: Record<string, unknown>) =>
      readEnvelope(
        { body: Buffer.from("1"), properties: { type: "/x", messageId: "m", headers } },
        { lane: "inbox", eventKey: undefined, newId: () => "" },
      );
    expect(read(named(false))).toEqual(read(named(true)));
    expect(read(named(false))).toMatchObject({ attempt: 7, waitMs: 250, deaths: 1, expiresMs: 5_000 });
  });
});

describe("a reply of another language", () => {
  const decode = (headers: Record<string, unknown>, body: string | Uint8Array, contentType?: string) =>
    decodeReply({
      body: typeof body === "string" ? Buffer.from(body) : body,
      properties: { headers, correlationId: "1", ...(contentType === undefined ? {} : { contentType }) },
    });

  it.each([404, 404n, decimal(404, 0), "404"])("says that it failed by a status of %o", (status) => {
    expect(decode({ "confluo-status": status }, "{}")).toMatchObject({ kind: "answer", status: 404 });
    expect(decode({ "confluo-status": status, "confluo-error": "GONE" }, "{}")).toMatchObject({
      kind: "error",
      status: 404,
      error: { code: "GONE" },
    });
  });

  it.each([
    ["plain text", "text/plain", "it is gone", "it is gone"],
    ["plain text with a mark and white space around", "text/plain", "\uFEFF it is gone\r\n", "it is gone"],
    ["text that is not UTF-8", "text/plain", Uint8Array.of(0x67, 0x6f, 0x6e, 0xe9), "gon\uFFFD"],
    ["a page", "text/html; charset=utf-8", "<h1>gone</h1>", "<h1>gone</h1>"],
    ["text as bytes", "application/octet-stream", "it is gone", "it is gone"],
    ["bytes", "application/octet-stream", Uint8Array.of(0xff, 0), undefined],
    ["broken JSON", "application/json", "{it is gone", "{it is gone"],
    ["a JSON string", "application/json", '"it is gone"', "it is gone"],
    ["a JSON list", "application/json", "[1]", undefined],
    ["nothing", "text/plain", "", undefined],
    ["nothing, as JSON", "application/json", "", undefined],
  ])("whose body is %s fails by its headers", (_what, contentType, body, message) => {
    const headers = { "confluo-status": 410, "confluo-error": "GONE" };
    expect(decode(headers, body, contentType)).toEqual({
      kind: "error",
      status: 410,
      error: message === undefined ? { code: "GONE" } : { code: "GONE", message },
    });
  });

  it("whose status alone says that it failed fails with what text there is", () => {
    expect(decode({ "confluo-status": 503 }, "no room", "text/plain")).toEqual({
      kind: "error",
      status: 503,
      error: { code: "SERVICE_ERROR", message: "no room", data: "no room" },
    });
    const properties = { contentType: "text/plain", contentEncoding: "gzip" };
    const packed = {
      body: Buffer.from("x"),
      properties: { ...properties, headers: { "confluo-status": 503 } },
    };
    expect(decodeReply(packed)).toMatchObject({ kind: "error", status: 503, error: { data: undefined } });
  });

  it("that is an answer still has to be readable", () => {
    expect(() => decode({ "confluo-status": 200 }, "fine", "text/plain")).toThrow("not supported");
  });
});
