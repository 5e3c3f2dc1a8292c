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
