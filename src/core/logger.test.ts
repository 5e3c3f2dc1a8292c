import { Writable } from "node:stream";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { ServiceError } from "../errors.ts";
import { guardedLogger } from "./logger.ts";

describe("a logger", () => {
  it("may be pino's: errors come with message, stack and code", () => {
    const lines: string[] = [];
    const stream = new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    });
    const logger = guardedLogger(pino({}, stream), { service: "s" });
    logger.error({ err: new ServiceError("no", { code: "GONE" }), path: "/x" }, "It failed.");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: 50,
      service: "s",
      path: "/x",
      msg: "It failed.",
      err: { message: "no", code: "GONE", stack: expect.stringContaining("logger.test") },
    });
  });

  it("is standard error without one, where an error of ours explains itself and any other has its stack", () => {
    const write = vi.spyOn(console, "error").mockImplementation(() => undefined);
    try {
      const logger = guardedLogger(undefined, { service: "s" });
      logger.warn({ err: new ServiceError("no", { code: "GONE" }) }, "It failed.");
      logger.error({ err: new TypeError("boom") }, "It failed.");
      logger.debug({}, "unseen");
      const [[first], [second]] = write.mock.calls as [[string], [string]];
      expect(first).toBe("confluo s: It failed. GONE: no");
      expect(second).toMatch(/^confluo s: It failed\.\n {2}TypeError: boom\n.*logger\.test/s);
      expect(write).toHaveBeenCalledTimes(2);
    } finally {
      write.mockRestore();
    }
  });
});
