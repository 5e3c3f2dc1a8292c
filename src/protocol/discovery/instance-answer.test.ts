import { describe, expect, it } from "vitest";
import {
  decodeAnswer,
  decodeQuestion,
  encodeAnswer,
  encodeQuestion,
  type InstanceStats,
} from "./instance-answer.ts";

const name = { service: "s", instance: "i" };
const answer = (body: unknown) => ({ body: new TextEncoder().encode(JSON.stringify(body)), properties: {} });

describe("an answer", () => {
  it("is read as it was written", () => {
    const stats: InstanceStats = {
      ...name,
      uptimeMs: 5,
      health: {
        status: "degraded",
        state: "running",
        detached: ["q"],
        blocked: "low on disk",
        reason: { code: "ACCESS_REFUSED", message: "no right" },
      },
      routes: [
        {
          path: "/a",
          handled: 1,
          refused: 2,
          failed: 3,
          retried: 4,
          deadLettered: 5,
          inFlight: 6,
          waiting: 7,
          durations: [[1.5, 6]],
          recent: { ms: 7_000, handled: 1, refused: 0, failed: 1, durations: [[1.5, 2]] },
          senders: [
            { service: "web", handled: 1, refused: 2, failed: 2 },
            { handled: 0, refused: 0, failed: 1 },
          ],
          lastError: { code: "TIMEOUT", message: "late", at: "2026" },
        },
      ],
      subscriptions: [],
      calls: [{ service: "stock", path: "/orders/:id/reserve", count: 3 }, { count: 1 }],
      sends: [{ service: "mail", count: 2 }],
      publishes: [{ path: "/placed", count: 4 }, { count: 5 }],
      unmatched: { received: 7, deadLettered: 8 },
      malformed: { received: 9, deadLettered: 10 },
      calling: 1,
      unconfirmed: 2,
      unclaimed: 8,
      delayed: [
        { service: "b", count: 2, until: "2026-12-01T09:00:00.000Z" },
        { count: 1, until: "2026-12-02T09:00:00.000Z" },
      ],
      reconnects: 3,
    };
    expect(decodeAnswer("stats", encodeAnswer("1", stats))).toEqual(stats);
  });

  it("of a program that says less, or other things, has none of what it did not say", () => {
    for (const body of [name, { ...name, routes: 7, health: "fine", durations: {}, pid: "x" }]) {
      expect(decodeAnswer("stats", answer(body))).toEqual({
        ...name,
        uptimeMs: 0,
        health: { status: "healthy", state: "", detached: [] },
        routes: [],
        subscriptions: [],
        calls: [],
        sends: [],
        publishes: [],
        unmatched: { received: 0, deadLettered: 0 },
        malformed: { received: 0, deadLettered: 0 },
        calling: 0,
        unconfirmed: 0,
        unclaimed: 0,
        delayed: [],
        reconnects: 0,
      });
      expect(decodeAnswer("info", answer(body))).toMatchObject({ ...name, pid: 0, host: "", routes: [] });
      expect(decodeAnswer("ping", answer(body))).toEqual(name);
    }
    const odd = {
      ...name,
      subscriptions: [null, { pattern: "/a", handled: "many", durations: [[1], [2, 3]] }],
    };
    expect(decodeAnswer("stats", answer(odd)).subscriptions).toMatchObject([
      { pattern: "", per: "service", handled: 0, durations: [] },
      { pattern: "/a", per: "service", handled: 0, durations: [[2, 3]] },
    ]);
  });

  it("names no more of others than there is room for, and nothing that cannot be a service's name", () => {
    const calls = Array.from({ length: 2_000 }, (_, n) => ({ service: `s${n}`, count: 1 }));
    const senders = [
      { service: "a.b", handled: 1 },
      ...Array.from({ length: 100 }, () => ({ service: "a" })),
    ];
    const stats = decodeAnswer("stats", answer({ ...name, calls, routes: [{ path: "/", senders }] }));
    expect(stats.calls).toHaveLength(501);
    expect(stats.routes[0]?.senders).toHaveLength(33);
    expect(stats.routes[0]?.senders[0]).toEqual({ handled: 1, refused: 0, failed: 0 });
    const odd = [{ service: "a b" }, { service: "a", path: "/x" }, 7];
    const info = decodeAnswer(
      "info",
      answer({ ...name, sends: odd, publishes: [{ path: 1 }, { path: "/e" }] }),
    );
    expect([info.sends, info.publishes]).toEqual([[{ service: "a", path: "/x" }], [{ path: "/e" }]]);
  });

  it("of a program that writes numbers as text, and text as numbers, is read as meant", () => {
    const body = { ...name, pid: "12", uptimeMs: "1.5", version: 2.1, host: 7 };
    expect(decodeAnswer("info", answer(body))).toMatchObject({
      pid: 12,
      uptimeMs: 1.5,
      version: "2.1",
      host: "7",
    });
  });

  it.each([
    null,
    7,
    "text",
    [],
    {},
    { service: 1, instance: "i" },
    { service: "a b", instance: "i" },
    { service: "x".repeat(300), instance: "i" },
    { service: "s", instance: "\u001b[2J" },
  ])("is none: %j", (body) =>
    expect(() => decodeAnswer("ping", answer(body))).toThrow("names no service and instance"),
  );

  it("that is no JSON is none", () =>
    expect(() => decodeAnswer("ping", { body: Buffer.from("{"), properties: {} })).toThrow("not JSON"));
});

it("a question is read as it was written, and others are ignored", () => {
  const question = encodeQuestion("info", { id: "1", replyTo: "q", ms: 1.5 });
  expect(question.properties.expiration).toBe("2");
  expect(decodeQuestion(question)).toEqual({ question: "info", id: "1", replyTo: "q" });
  const { body, properties } = question;
  for (const odd of [{ type: "other" }, { replyTo: "" }, { replyTo: "amq.rabbitmq.reply-to.x" }])
    expect(decodeQuestion({ body, properties: { ...properties, ...odd } })).toBeUndefined();
});
