import { describe, expect, it } from "vitest";
import type { HandlerStats, ServiceStats } from "../../index.ts";
import { idleInstance, idleService, noQueues } from "./service-stats.test-support.ts";
import {
  delayedForHumans,
  delayedIn,
  forHumans,
  handlersOf,
  instanceLine,
  linesOf,
  rateForHumans,
  untilForHumans,
} from "./service-table.ts";

function recently(own: Partial<HandlerStats["recent"]>): HandlerStats["recent"] {
  return { ms: 10_000, handled: 0, refused: 0, failed: 0, durations: [], ...own };
}

const seen = (...services: ServiceStats[]) => ({ services, missing: [], delays: [], delayed: [] });

function counted(own: Partial<HandlerStats> = {}): HandlerStats {
  return {
    handled: 0,
    refused: 0,
    failed: 0,
    retried: 0,
    deadLettered: 0,
    inFlight: 0,
    waiting: 0,
    durations: [],
    recent: recently({}),
    senders: [],
    ...own,
  };
}

function service(own: Partial<ServiceStats> = {}, instances: readonly string[] = ["a"]): ServiceStats {
  return {
    ...idleService("orders"),
    instances: instances.map((name) => idleInstance("orders", name)),
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
            waiting: 3,
            durations: [[77, 1_000]],
            recent: recently({ handled: 80, refused: 10, durations: [[1, 90]] }),
            lastError: error("2026-01-01"),
          }),
        },
      ],
      subscriptions: [
        {
          pattern: "/e",
          per: "service",
          ...counted({
            failed: 10,
            waiting: 4,
            recent: recently({ failed: 10, durations: [[50, 10]] }),
            lastError: error("2026-01-02"),
          }),
        },
      ],
      unclaimed: 1,
      queues: {
        calls: { messages: 1, consumers: 1 },
        "calls.again": { messages: 10, consumers: 1 },
        "calls.batch": { messages: 100, consumers: 1 },
        inbox: { messages: 4, consumers: 1 },
        "inbox.again": { messages: 1_000, consumers: 1 },
        dead: { messages: 7, consumers: 0 },
      },
    });
    const [line] = linesOf(seen(stats));
    expect(line).toMatchObject({
      instances: 1,
      health: "healthy",
      perSecond: 10,
      inFlight: 2,
      refused: 10,
      failed: 10,
      waiting: 1_115,
      toRetry: 8,
      dead: 7,
    });
    expect([line?.p50Ms, line?.p99Ms, line?.lastError?.message]).toEqual([1, 50, "2026-01-02"]);
  });

  it("has nothing that waits for a service that only calls", () => {
    const [line] = linesOf(seen(service()));
    expect(line).toMatchObject({ waiting: undefined, dead: undefined, p50Ms: undefined, perSecond: 0 });
  });

  it("shows the worst health of the instances", () => {
    const sick = service({}, ["a", "b"]);
    const health = { status: "degraded", state: "running", detached: ["q"] } as const;
    const instances = sick.instances.map((each, n) => (n === 0 ? each : { ...each, health }));
    expect(linesOf(seen({ ...sick, instances }))[0]?.health).toBe("degraded");
  });

  it("shows one that is down, silent or missing, and knows nothing that only instances know", () => {
    const down = { ...noQueues, inbox: { messages: 300, consumers: 0 }, dead: { messages: 1, consumers: 0 } };
    const silent = { ...noQueues, inbox: { messages: 0, consumers: 2 } };
    const services = [
      service({ service: "b", queues: down }, []),
      service({ service: "c", queues: silent }, []),
    ];
    const lines = linesOf({ services, missing: ["a"], delayed: [] });
    const nothing = { instances: 0, perSecond: undefined, failed: undefined, toRetry: undefined };
    expect(lines).toMatchObject([
      { ...nothing, service: "a", health: "missing", waiting: undefined, dead: undefined },
      { ...nothing, service: "b", health: "down", waiting: 300, dead: 1 },
      { ...nothing, service: "c", health: "silent", waiting: 0 },
    ]);
  });

  it("has a rate of its last seconds, and none if another version does not tell", () => {
    const rates = (ms: number) => {
      const stats = service({
        routes: [{ path: "/a", ...counted({ handled: 1_000_000, recent: recently({ ms, handled: 50 }) }) }],
      });
      return [linesOf(seen(stats))[0]?.perSecond, handlersOf(stats)[0]?.perSecond];
    };
    expect(rates(5_000)).toEqual([10, 10]);
    expect(rates(0)[1]).toBeUndefined();
  });
});

describe("what waits in delay queues", () => {
  const orders = service({ routes: [{ path: "/a", ...counted({ waiting: 50 }) }], unclaimed: 2 });
  const holding = (messages: number) => ({
    services: [orders],
    delays: [{ name: "n.wait.4", ms: 4_000, messages }],
    delayed: [],
  });

  it("is what instances say, and what else there is, but for their own probes", () => {
    expect(delayedIn(holding(55))).toEqual({ known: 52, others: 0 });
    expect(delayedIn(holding(10))).toEqual({ known: 52, others: 0 });
    expect(delayedIn(holding(152))).toEqual({ known: 52, others: 100 });
    expect(delayedIn({ ...holding(3), services: [] })).toEqual({ known: 0, others: 3 });
  });

  it("is also what was delayed, of which its line says how long it waits", () => {
    const until = new Date(Date.now() + 3 * 3_600_000).toISOString();
    const delayed = [{ service: "orders", messages: 60, until }];
    expect(delayedIn({ ...holding(152), delayed })).toEqual({ known: 112, others: 40 });
    const [line] = linesOf({
      services: [service()],
      missing: [],
      delayed: [{ ...delayed[0], service: service().service }] as typeof delayed,
    });
    expect(line?.delayed).toEqual({ messages: 60, until });
    expect(untilForHumans(line?.delayed, Date.parse(until) - 7_500_000)).toBe("60, 2 h 5 min");
    expect(untilForHumans(line?.delayed, Date.parse(until) + 5)).toBe("60, 0 ms");
    expect(untilForHumans(undefined)).toBe("–");
    expect(linesOf({ services: [service()], missing: [], delayed: [] })[0]).not.toHaveProperty("delayed");
  });

  it("is said in words, if there is any", () => {
    expect(delayedForHumans(holding(152))).toBe(
      "152 wait in delay queues, for another try, for an instance that handles them or until they are due, 100 of them from instances that do not answer.",
    );
    expect(delayedForHumans({ services: [service()], delays: [], delayed: [] })).toBeUndefined();
  });
});

describe("lines for handlers and instances", () => {
  it("tell one kind from the other", () => {
    const stats = service({
      routes: [
        {
          path: "/a",
          ...counted({
            recent: recently({
              durations: [
                [1, 50],
                [2, 45],
                [9, 5],
              ],
            }),
          }),
        },
      ],
      subscriptions: [
        { pattern: "/e", per: "service", ...counted() },
        { pattern: "/e", per: "instance", ...counted() },
      ],
    });
    const lines = handlersOf(stats);
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
      calls: [],
      sends: [],
      publishes: [],
    };
    const health = {
      status: "degraded",
      state: "running",
      detached: ["q.inbox"],
      blocked: "memory",
      reason: { code: "ACCESS_REFUSED", message: "It may not write." },
    } as const;
    expect(instanceLine({ ...info, health })).toMatchObject({
      up: "1 min",
      version: "–",
      health: "degraded: no q.inbox, blocked, It may not write",
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
