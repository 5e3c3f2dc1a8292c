import { describe, expect, it } from "vitest";
import type { HandlerStats, InstanceStats, ServiceStats } from "../index.ts";
import { forHumans, handlersOf, instanceLine, linesOf, rateForHumans } from "./fleet.ts";

function counted(own: Partial<HandlerStats> = {}): HandlerStats {
  return {
    handled: 0,
    refused: 0,
    failed: 0,
    retried: 0,
    deadLettered: 0,
    inFlight: 0,
    durations: [],
    ...own,
  };
}

function service(own: Partial<ServiceStats> = {}, instances: readonly string[] = ["a"]): ServiceStats {
  const health = { status: "healthy", state: "running", detached: [] } as const;
  const instance = (name: string): InstanceStats => ({
    service: "orders",
    instance: name,
    uptimeMs: 10_000,
    health,
    routes: [],
    subscriptions: [],
    unmatched: { received: 0, deadLettered: 0 },
    malformed: { received: 0, deadLettered: 0 },
    calling: 0,
    unconfirmed: 0,
    reconnects: 0,
  });
  const queues = { calls: undefined, inbox: undefined, dead: undefined };
  return {
    service: "orders",
    instances: instances.map(instance),
    routes: [],
    subscriptions: [],
    queues,
    ...own,
  };
}

describe("a line for a service", () => {
  it("sums up what its handlers did, and says what waits", () => {
    const error = (at: string) => ({ code: "TIMEOUT", message: at, at });
    const stats = service({
      routes: [
        {
          path: "/a",
          ...counted({
            handled: 80,
            refused: 10,
            inFlight: 2,
            durations: [[1, 90]],
            lastError: error("2026-01-01"),
          }),
        },
      ],
      subscriptions: [
        {
          pattern: "/e",
          per: "service",
          ...counted({ failed: 10, durations: [[50, 10]], lastError: error("2026-01-02") }),
        },
      ],
      queues: {
        calls: { messages: 1, consumers: 1 },
        inbox: { messages: 4, consumers: 1 },
        dead: { messages: 7, consumers: 0 },
      },
    });
    const [line] = linesOf({ stats: [stats], at: 0 });
    expect(line).toMatchObject({
      instances: 1,
      health: "healthy",
      perSecond: 10,
      inFlight: 2,
      refused: 10,
      failed: 10,
      waiting: 5,
      dead: 7,
    });
    expect([line?.p50Ms, line?.p99Ms, line?.lastError?.message]).toEqual([1, 50, "2026-01-02"]);
  });

  it("has nothing that waits for a service that only calls", () => {
    const [line] = linesOf({ stats: [service()], at: 0 });
    expect(line).toMatchObject({ waiting: undefined, dead: undefined, p50Ms: undefined, perSecond: 0 });
  });

  it("shows the worst health of the instances", () => {
    const sick = service({}, ["a", "b"]);
    const health = { status: "degraded", state: "running", detached: ["q"] } as const;
    const instances = sick.instances.map((each, n) => (n === 0 ? each : { ...each, health }));
    expect(linesOf({ stats: [{ ...sick, instances }], at: 0 })[0]?.health).toBe("degraded");
  });

  it("counts a rate since the snapshot before, if the same instances were there", () => {
    const at = (handled: number, instances?: readonly string[]) =>
      service({ routes: [{ path: "/a", ...counted({ handled }) }] }, instances);
    const before = { stats: [at(100)], at: 1_000 };
    expect(linesOf({ stats: [at(150)], at: 3_000 }, before)[0]?.perSecond).toBe(25);
    expect(linesOf({ stats: [at(50, ["b"])], at: 3_000 }, before)[0]?.perSecond).toBe(5);
    const now = { stats: [at(150)], at: 3_000 };
    expect(handlersOf(at(150), now, before)[0]).toMatchObject({ name: "/a", kind: "route", perSecond: 25 });
  });
});

describe("lines for handlers and instances", () => {
  it("tell one kind from the other", () => {
    const stats = service({
      routes: [
        {
          path: "/a",
          ...counted({
            durations: [
              [1, 50],
              [2, 45],
              [9, 5],
            ],
          }),
        },
      ],
      subscriptions: [
        { pattern: "/e", per: "service", ...counted() },
        { pattern: "/e", per: "instance", ...counted() },
      ],
    });
    const lines = handlersOf(stats, { stats: [stats], at: 0 });
    expect(lines.map(({ kind }) => kind)).toEqual(["route", "subscription", "instance subscription"]);
    expect([lines[0]?.p50Ms, lines[0]?.p95Ms, lines[0]?.p99Ms]).toEqual([1, 2, 9]);
  });

  it("say what an instance lacks", () => {
    const info = {
      service: "orders",
      instance: "a",
      host: "h",
      pid: 1,
      startedAt: "",
      uptimeMs: 90_000,
      confluo: "0.1.0",
      node: "20.0.0",
      routes: [],
      subscriptions: [],
    };
    const health = {
      status: "degraded",
      state: "running",
      detached: ["q.inbox"],
      blocked: "memory",
    } as const;
    expect(instanceLine({ ...info, health })).toMatchObject({
      up: "1 min",
      version: "–",
      health: "degraded: no q.inbox, blocked",
    });
  });
});

describe("figures for people", () => {
  it.each([
    [undefined, "–"],
    [0.0123, "0.012 ms"],
    [9.96, "10 ms"],
    [87.4, "87 ms"],
    [4_210, "4.2 s"],
    [42_000, "42 s"],
    [185_000, "3 min"],
    [7_500_000, "2 h 5 min"],
    [529_200_000, "6 d 3 h"],
  ])("show %s ms as %s", (ms, text) => expect(forHumans(ms)).toBe(text));

  it.each([
    [0, "0/s"],
    [0.001, "<0.01/s"],
    [0.256, "0.26/s"],
    [12.6, "13/s"],
    [12_345.6, "12,346/s"],
  ])("show %s a second as %s", (perSecond, text) => expect(rateForHumans(perSecond)).toBe(text));
});
