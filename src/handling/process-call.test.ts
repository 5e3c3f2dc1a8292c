import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { command } from "../contract/command.ts";
import { silentLogger } from "../logging/logger.ts";
import { readEnvelope } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import { Registry } from "../registry/registry.ts";
import { defaultRetry } from "../retry/policy.ts";
import { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import { SessionSlot } from "../transport/session-slot.ts";
import type { Session } from "../transport/transport.ts";
import { Dispatcher } from "./dispatcher.ts";

const atOnce = z.object({ n: z.number() });
const later = atOnce.refine(async () => true);

/** Hands a call of a contract with these schemas to a handler, and returns what has been answered by then, and what will be. */
function answersTo(
  schemas: { readonly input?: z.ZodType; readonly output?: z.ZodType },
  handler: () => unknown,
) {
  const contract = command("s", "/", schemas);
  const registry = new Registry();
  const entry = { contract, timeoutMs: 1_000, retry: defaultRetry, tally: new HandlerStatsRecorder() };
  registry.routes.add("/", { pattern: "/", handler, ...entry });
  const answers: string[] = [];
  const sessions = new SessionSlot(() => Promise.reject(new Error("nothing is sent")));
  sessions.maxBodyBytes = 1_000;
  sessions.session = {
    allow: () => undefined,
    reply: (_to: string, { body, properties }: Message) => {
      answers.push(String(properties.headers?.["confluo-error"] ?? Buffer.from(body)));
    },
  } as unknown as Session;
  const dispatcher = new Dispatcher({
    service: "s",
    instance: "i",
    registry,
    logger: silentLogger,
    sessions,
    callTimeoutMs: 1_000,
    unhandledRetryMs: 600_000,
    mostCalls: 128,
    mostWaiting: 8_192,
  });
  const properties = { type: "/", contentType: "application/json", replyTo: "q", correlationId: "c" };
  const message = { body: new TextEncoder().encode('{"n":1}'), properties };
  dispatcher.handle({
    lane: "calls",
    message,
    envelope: readEnvelope(message, { lane: "calls", eventKey: undefined, newId: () => "new" }),
    history: "first",
    redelivered: false,
    receivedAt: performance.now(),
    size: message.body.length,
    hold: "held",
    settle: () => true,
  });
  return { soFar: [...answers], answers };
}

describe("a call with a contract", () => {
  it.each([
    ["input", { input: atOnce }],
    ["output", { output: atOnce }],
    ["input and output", { input: atOnce, output: atOnce }],
  ])("is answered in the turn in which it came, if the schema of its %s answers at once", (_, schemas) => {
    expect(answersTo(schemas, () => ({ n: 2 })).soFar).toEqual(['{"n":2}']);
    expect(answersTo(schemas, () => ({ n: 2, hidden: 3 })).soFar).toEqual([
      "output" in schemas ? '{"n":2}' : '{"n":2,"hidden":3}',
    ]);
  });

  it.each([
    ["input", { input: later }],
    ["output", { output: later }],
  ])("is answered later, if the schema of its %s takes its time", async (_, schemas) => {
    const { soFar, answers } = answersTo(schemas, () => ({ n: 2 }));
    expect(soFar).toEqual([]);
    await vi.waitFor(() => expect(answers).toEqual(['{"n":2}']));
  });

  it.each([
    ["at once", { output: atOnce }, () => ({ n: "x" })],
    ["at once, what the handler promised", { output: atOnce }, async () => ({ n: "x" })],
    ["later", { output: later }, () => ({ n: "x" })],
  ])("is refused with INVALID_OUTPUT by a schema that answers %s", async (_, schemas, handler) => {
    const { answers } = answersTo(schemas, handler);
    await vi.waitFor(() => expect(answers).toEqual(["INVALID_OUTPUT"]));
  });
});
