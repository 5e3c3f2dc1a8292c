import { Writable } from "node:stream";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConfluoError, ServiceError } from "../errors.ts";
import { Broker, Service } from "../index.ts";
import { readEnvelope } from "../protocol/envelope.ts";
import { eventually } from "../testing/index.ts";
import { guardedLogger, type Logger, messageFields } from "./logger.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

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

  const written = (log: (logger: Logger) => void): readonly string[] => {
    const write = vi.spyOn(console, "error").mockImplementation(() => undefined);
    try {
      log(guardedLogger(undefined, { service: "s" }));
      return write.mock.calls.map(([line]) => String(line));
    } finally {
      write.mockRestore();
    }
  };
  const refused = (): Error => new TypeError("boom", { cause: new Error("refused\nby 10.0.0.1") });
  const several = (): Error => new AggregateError([new Error("first"), new Error("second")]);

  describe("without one is standard error, and for a terminal", () => {
    beforeEach(() => void vi.stubEnv("CONFLUO_LOG", "text"));
    afterEach(() => void vi.unstubAllEnvs());

    it("an error of ours explains itself, and any other has its stack and those of its causes", () => {
      const [first, second, third, ...others] = written((logger) => {
        logger.error({ err: new ServiceError("no", { code: "GONE" }) }, "It failed.");
        logger.error({ err: refused() }, "It failed.");
        logger.error({ err: several() }, "It failed.");
        logger.debug({}, "unseen");
      });
      expect(first).toBe("confluo s: It failed. GONE: no");
      expect(second).toMatch(
        /^confluo s: It failed\.\n {2}TypeError: boom\n.*logger\.test.*\ncaused by Error: refused\nby 10\.0\.0\.1\n.*logger\.test/s,
      );
      expect(third).toMatch(
        /AggregateError.*\nerror 1 of 2: Error: first\n.*\nerror 2 of 2: Error: second\n/s,
      );
      expect(others).toEqual([]);
    });

    it("a warning is one line, causes included", () => {
      const lines = written((logger) => {
        logger.warn({ err: refused() }, "Again in 1 s.");
        logger.warn({ err: several() }, "Again in 1 s.");
        logger.warn({ err: new ServiceError("no", { code: "GONE", cause: refused() }) }, "Again in 1 s.");
      });
      expect(lines).toEqual([
        "confluo s: Again in 1 s. TypeError: boom; caused by Error: refused by 10.0.0.1",
        "confluo s: Again in 1 s. AggregateError: AggregateError without a message; error 1 of 2: Error: first; error 2 of 2: Error: second",
        "confluo s: Again in 1 s. GONE: no; caused by TypeError: boom; caused by Error: refused by 10.0.0.1",
      ]);
    });

    it("what ServiceErrors were caused by has its stack in an error", () => {
      const [line] = written((logger) =>
        logger.error({ err: new ServiceError("no", { code: "GONE", cause: refused() }) }, "It failed."),
      );
      expect(line).toMatch(/^confluo s: It failed\. GONE: no\n {2}caused by TypeError: boom\n {4}at /);
    });

    it("what an error of confluo's own was caused by is said by its message", () => {
      const cause = new Error("connect ECONNREFUSED");
      const err = new ConfluoError("BROKER_UNREACHABLE", "No broker answers (ECONNREFUSED).", { cause });
      expect(written((logger) => logger.warn({ err }, `${err.message} Trying again.`))).toEqual([
        "confluo s: No broker answers (ECONNREFUSED). Trying again.",
      ]);
    });
  });

  it("without one writes a line of JSON where standard error is no terminal", () => {
    vi.stubEnv("CONFLUO_LOG", "");
    const isTTY = process.stderr.isTTY;
    process.stderr.isTTY = false;
    try {
      const lines = written((logger) => {
        logger.info({ broker: "memory:" }, "Runs.");
        logger.warn({ err: refused(), attempt: 1 }, "Again.");
        logger.error({ err: new ServiceError("no", { code: "GONE", cause: refused() }) }, "It failed.");
        logger.info({ cyclic: process }, "Still written.");
      });
      for (const line of lines) expect(line).not.toContain("\n");
      const [info, warning, error, still] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(info).toEqual({
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        level: "info",
        msg: "Runs.",
        service: "s",
        broker: "memory:",
      });
      expect(warning).toMatchObject({ level: "warn", service: "s", attempt: 1 });
      expect(warning?.err).toEqual({
        type: "TypeError",
        message: "boom",
        causes: ["caused by Error: refused by 10.0.0.1"],
      });
      expect(error?.err).toMatchObject({
        type: "ServiceError",
        code: "GONE",
        status: 500,
        message: "no",
        stack: expect.stringMatching(/logger\.test.*caused by TypeError: boom/s),
      });
      expect(still).toMatchObject({ msg: "Still written." });
    } finally {
      process.stderr.isTTY = isTTY;
      vi.unstubAllEnvs();
    }
  });
});

const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
const span = "00f067aa0ba902b7";
/** What two services log, one of which fails at whatever it handles. */
async function failing() {
  const lines: object[] = [];
  const keep = (details: object): void => void lines.push(details);
  const logger: Logger = { debug() {}, info() {}, warn: keep, error: keep };
  const [worker, client] = [new Service("worker", { logger }), new Service("client", { logger })];
  const fail = (): never => {
    throw new Error("no");
  };
  worker.route("/fails", fail, { retry: { attempts: 1 } });
  worker.subscribe("/own", fail, { per: "instance" });
  worker.route("/slow", () => new Promise(() => undefined));
  const broker = new Broker("memory:");
  cleanUp.push(() => Promise.all([client.shutdown(), worker.shutdown({ timeoutMs: 1 })]));
  await Promise.all([worker.connect(broker), client.connect(broker)]);
  return { worker, client, lines };
}

describe("each line about a message", () => {
  const headers = { traceparent: `00-${trace}-${span}-01` };

  it("says which service, instance and message, and the trace that it was sent in", async () => {
    const { worker, client, lines } = await failing();
    const whole = {
      service: "worker",
      instance: worker.instance,
      from: "client",
      traceId: trace,
      spanId: span,
    };
    await client.call("worker", "/fails", undefined, { headers }).catch(() => undefined);
    expect(lines.splice(0)).toEqual([
      expect.objectContaining({ ...whole, path: "/fails", messageId: expect.stringMatching(/./) }),
    ]);
    await client.send("worker", "/fails", undefined, { headers, messageId: "m-1" });
    await client.publish("/own", undefined, { headers, messageId: "m-2" });
    await client.call("worker", "/slow", undefined, { headers, timeoutMs: 20 }).catch(() => undefined);
    await eventually(() => lines.length === 3, "three lines");
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ ...whole, path: "/fails", messageId: "m-1" }),
        expect.objectContaining({ ...whole, path: "/own", messageId: "m-2" }),
        expect.objectContaining({ ...whole, path: "/slow", messageId: expect.stringMatching(/./) }),
      ]),
    );
  });

  it.each([
    undefined,
    "",
    "nonsense",
    7,
    ["a"],
    `00-${trace}-${span}`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${"0".repeat(32)}-${span}-01`,
    `00-${trace}-${"0".repeat(16)}-01`,
    `00-${trace}-${span}-01x`,
    "0".repeat(100_000),
  ])("names no trace that is none (%#)", (traceparent) => {
    const message = { body: new Uint8Array(), properties: { headers: { traceparent }, messageId: "m" } };
    const envelope = readEnvelope(message, { lane: "inbox", eventKey: undefined, newId: () => "" });
    expect(messageFields({ message, envelope })).toEqual({ path: "", messageId: "m", from: "" });
  });
});
