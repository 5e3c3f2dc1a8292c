import { describe, expect, it } from "vitest";
import { decodeReply, encodeErrorReply, encodeReply } from "./reply.ts";

describe("an answer", () => {
  it("comes back as it went", () => {
    const reply = { status: 201, headers: { location: "/7" }, body: { id: 7 } };
    expect(decodeReply(encodeReply("1", reply))).toEqual({ kind: "answer", ...reply });
  });

  it("leaves out what holds its default", () => {
    expect(encodeReply("1", { status: 200, headers: {}, body: 1 }).properties).toEqual({
      contentType: "application/json",
      correlationId: "1",
    });
  });
});

describe("an error", () => {
  const error = { code: "GONE", message: "it is gone", data: { since: "x".repeat(500) } };

  it("comes back as it went", () => {
    expect(decodeReply(encodeErrorReply("1", 410, error))).toEqual({ kind: "error", status: 410, error });
  });

  it.each([1_000, 400, 100, 60, 30, 20, 1])("keeps to a limit of %i bytes, and always its code", (limit) => {
    const message = encodeErrorReply("1", 410, error, limit);
    expect(message.body.length).toBeLessThanOrEqual(limit);
    expect(decodeReply(message)).toMatchObject({ kind: "error", status: 410, error: { code: "GONE" } });
  });

  it("says that data was left out, and why", () => {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    for (const data of [circular, "x".repeat(2 * 1024 * 1024)]) {
      const { body } = encodeErrorReply("1", 500, { code: "C", message: "m", data });
      expect(JSON.parse(Buffer.from(body).toString())).toEqual({
        code: "C",
        message: expect.stringMatching(/^m \(its data could not be sent: .+\)$/),
      });
    }
  });
});

describe("a reply of another language", () => {
  const decimal = { "!": "decimal", value: { digits: 404, places: 0 } };
  const decode = (headers: Record<string, unknown>, body: string | Uint8Array, contentType?: string) =>
    decodeReply({
      body: typeof body === "string" ? Buffer.from(body) : body,
      properties: { headers, correlationId: "1", ...(contentType === undefined ? {} : { contentType }) },
    });

  it.each([404, 404n, decimal, "404"])("says that it failed by a status of %o", (status) => {
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
