import { describe, expect, it } from "vitest";
import { ConfluoError, type ServiceStats } from "../../index.ts";
import { idleInstance, idleService, noQueues } from "../services/service-stats.test-support.ts";
import {
  aboutAddress,
  aboutBindings,
  aboutClocks,
  aboutConflicts,
  aboutFeatureFlags,
  aboutQueues,
  aboutServer,
  aboutService,
  aboutVersions,
  type Finding,
} from "./checks.ts";

const capabilities = ["publisher_confirms", "consumer_cancel_notify", "connection.blocked", "basic.nack"];
const levels = (findings: readonly Finding[]) => findings.map(({ level }) => level);

describe("a broker", () => {
  it.each([
    ["3.9.1", "problem"],
    ["3.10.8", "warning"],
    ["3.13.7", "warning"],
    ["4.0.5", "ok"],
    ["4.3.6", "ok"],
  ])("of version %s is a %s", (version, level) => {
    const [about] = aboutServer({ product: "RabbitMQ", version, capabilities });
    expect([about?.level, about?.what.includes(version)]).toEqual([level, true]);
  });

  it("that is another, or lacks something, is a problem", () => {
    expect(levels(aboutServer({ product: "LavinMQ", version: "2", capabilities }))).toEqual(["problem"]);
    const lacking = aboutServer({
      product: "RabbitMQ",
      version: "4.0.5",
      capabilities: capabilities.slice(1),
    });
    expect(lacking[1]).toMatchObject({ level: "problem", what: "It lacks publisher_confirms." });
  });

  it.each([
    ["amqp://localhost", ["ok"]],
    ["amqp://a:b@rabbit.example", ["warning"]],
    ["amqp://guest:guest@rabbit.example", ["warning", "warning"]],
    ["amqps://a:b@rabbit.example", ["ok"]],
    ["amqp://a:b@one.example, amqps://a:b@two.example", ["ok", "warning"]],
    ["amqp://one.example,amqp://two.example,amqp://three.example", ["warning", "warning"]],
  ])("at %s is reached as safely as that allows", (address, expected) => {
    expect(levels(aboutAddress(address))).toEqual(expected);
    expect(JSON.stringify(aboutAddress(address))).not.toContain("a:b");
  });

  it("at several nodes is judged once for all that are alike", () => {
    const [clear] = aboutAddress("amqp://a:b@one.example,amqp://a:b@two.example,amqp://a:b@three.example");
    expect(clear?.what).toBe(
      "Messages and the password go to one.example, two.example and three.example in clear text.",
    );
  });
});

describe("a service", () => {
  const queues = (messages: number, consumers: number, dead = 0): ServiceStats["queues"] => ({
    ...noQueues,
    calls: { messages: 0, consumers },
    inbox: { messages, consumers },
    dead: { messages: dead, consumers: 0 },
  });

  it("whose queues nobody consumes has a problem with each", () => {
    const down = { ...queues(5, 0), "calls.batch": { messages: 2, consumers: 0 } };
    const [inbox, calls] = aboutQueues("s", down, ["web calls it"]);
    expect(inbox).toMatchObject({
      level: "problem",
      what: "Nobody consumes the inbox queue of s; 5 wait. web calls it.",
      todo: expect.stringContaining("confluo rm s"),
    });
    expect(calls).toMatchObject({ level: "warning", todo: expect.stringContaining("disappears by itself") });
    expect(calls?.what).toContain("; 2 wait,");
    expect(levels(aboutQueues("s", queues(5, 0)))).toEqual(["problem"]);
    expect(calls?.todo).not.toContain("delete");
    const again = { ...queues(5, 0), "inbox.again": { messages: 2, consumers: 0 } };
    expect(aboutQueues("s", again)[0]?.what).toContain("; 7 wait.");
    expect(levels(aboutQueues("s", queues(5_000, 1, 3)))).toEqual(["warning", "warning"]);
    expect(aboutQueues("s", queues(1, 1))).toEqual([]);
    expect(aboutQueues("s", noQueues)).toEqual([]);
  });

  it("is well, or says what is not", () => {
    const instance = idleInstance("s", "i");
    const well: ServiceStats = { ...idleService("s"), instances: [instance], queues: queues(0, 1) };
    expect(levels(aboutService(well))).toEqual(["ok"]);
    const detached = {
      status: "degraded",
      state: "running",
      detached: ["x.s.inbox"],
      reason: { code: "ACCESS_REFUSED", message: "No right." },
    } as const;
    const counts = {
      handled: 0,
      refused: 9,
      failed: 2,
      retried: 0,
      deadLettered: 0,
      inFlight: 0,
      waiting: 0,
      durations: [],
      recent: { ms: 5_000, handled: 0, refused: 0, failed: 0, durations: [] },
      senders: [],
    };
    const lastError = { code: "TIMEOUT", message: "late", at: "2026" };
    const ill = {
      ...well,
      instances: [{ ...instance, health: detached }],
      routes: [{ path: "/", ...counts, lastError }],
    };
    expect(aboutService(ill).map(({ what }) => what)).toEqual([
      "s, instance i, is degraded: no x.s.inbox, No right.",
      "s has failed 2 times, last 2026: TIMEOUT late.",
    ]);
  });

  it("of several versions is a warning", () => {
    const info = (version: string) => ({
      service: "s",
      instance: version,
      version,
      host: "h",
      pid: 1,
      startedAt: "",
      uptimeMs: 1,
      confluo: "0.1.0",
      node: "20",
      health: { status: "healthy", state: "running", detached: [] } as const,
      routes: [],
      subscriptions: [],
      calls: [],
      sends: [],
      publishes: [],
    });
    expect(aboutVersions([info("1"), info("1")])).toEqual([]);
    expect(levels(aboutVersions([info("1"), info("2")]))).toEqual(["warning"]);
  });
});

describe("clocks", () => {
  const info = (host: string, startedAt: string, uptimeMs: number) =>
    ({ host, startedAt, uptimeMs }) as Parameters<typeof aboutClocks>[0][number];
  const now = Date.parse("2026-01-01T00:01:00Z");

  it("are close, or are said to be wrong, host by host", () => {
    expect(aboutClocks([], now)).toEqual([]);
    const close = info("a", "2026-01-01T00:00:00Z", 59_000);
    expect(levels(aboutClocks([close], now))).toEqual(["ok"]);
    const far = [
      close,
      info("b", "2026-01-01T00:00:00Z", 180_000),
      info("b", "2025-12-31T23:59:00Z", 90_000),
    ];
    expect(aboutClocks(far, now).map(({ level, what }) => [level, what])).toEqual([
      ["warning", "The clock of b is 120 s ahead of the one here."],
    ]);
    expect(aboutClocks([info("c", "2025-12-31T23:00:00Z", 0)], now)[0]?.what).toContain("3,660 s behind");
  });
});

describe("feature flags", () => {
  const flag = (name: string, isEnabled: boolean, isStable = true) => ({ name, isEnabled, isStable });

  it("are enabled, or should be; without quorum queues nothing works", () => {
    expect(levels(aboutFeatureFlags([flag("a", true), flag("experiment", false, false)]))).toEqual(["ok"]);
    expect(levels(aboutFeatureFlags([flag("a", false)]))).toEqual(["warning"]);
    expect(levels(aboutFeatureFlags([flag("quorum_queue", false)]))).toEqual(["problem"]);
  });
});

describe("the topology", () => {
  it("is as declared, or in conflict", () => {
    expect(levels(aboutConflicts("s", []))).toEqual(["ok"]);
    expect(aboutConflicts("s", [new ConfluoError("TOPOLOGY_CONFLICT", "differs")])[0]?.what).toBe("differs");
  });

  it("has stale bindings only where a service answers and does not subscribe", () => {
    const bindings = [
      { service: "s", key: "a.*.c%2Ed" },
      { service: "s", key: "b.50%25%2E" },
      { service: "silent", key: "c" },
    ];
    const subscriptions = [
      { pattern: "/a/:id/c.d", per: "service" },
      { pattern: "/b/50%.", per: "instance" },
    ] as const;
    const found = aboutBindings(bindings, [{ service: "s", subscriptions }]);
    expect(found).toMatchObject([
      { level: "warning", todo: "If they are no longer needed: confluo unbind s '/b/50%.'." },
    ]);
    expect(levels(aboutBindings([], []))).toEqual(["ok"]);
  });
});
