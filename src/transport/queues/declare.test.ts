import { describe, expect, it, vi } from "vitest";
import { ConfluoError } from "../../errors.ts";
import type { TopologyRequest } from "../amqp-client.ts";
import { fakeClient } from "../session/fake-client.test-support.ts";
import { bindAll, declare, declareExchanges, declareQueues } from "./declare.ts";

const quorum = { name: "q", arguments: { "x-queue-type": "quorum" } };
const unavailable = new ConfluoError("UNAVAILABLE", "its home node is down or inaccessible");

it("asks again for a quorum queue that is not available for a moment, as one that is just being made", async () => {
  const declareQueue = vi.fn(async () => "q");
  declareQueue.mockRejectedValueOnce(unavailable).mockRejectedValueOnce(unavailable);
  await declare(fakeClient({ declareQueue }), quorum);
  expect(declareQueue).toHaveBeenCalledTimes(3);
});

it("gives up soon, and at once what is no question of time", async () => {
  const fails = async (error: ConfluoError, plan = quorum): Promise<number> => {
    const declareQueue = vi.fn().mockRejectedValue(error);
    await expect(declare(fakeClient({ declareQueue }), plan)).rejects.toBe(error);
    return declareQueue.mock.calls.length;
  };
  expect(await fails(unavailable)).toBe(4);
  expect(await fails(new ConfluoError("TOPOLOGY_CONFLICT", "it is another"))).toBe(1);
  const limit = new ConfluoError("UNAVAILABLE", "queue limit in vhost is reached", {
    data: { limit: "queues" },
  });
  expect(await fails(limit)).toBe(1);
  expect(await fails(unavailable, { name: "q", arguments: { "x-queue-type": "classic" } })).toBe(1);
});

describe("many of a kind", () => {
  const keys = Array.from({ length: 601 }, (_, n) => `key.${n}`);

  /** Binds on a connection that refuses some keys. */
  async function bound(
    refused: readonly string[] = [],
    error: ConfluoError = new ConfluoError("ACCESS_REFUSED", "no"),
  ) {
    const alone: string[] = [];
    const trips: number[] = [];
    const done = new Set<string>();
    const client = fakeClient({
      bind: async (_queue, _exchange, key) => {
        alone.push(key);
        if (refused.includes(key)) throw error;
      },
      request: async (requests) => {
        trips.push(requests.length);
        if (requests.some((request) => request.kind === "binding" && refused.includes(request.key)))
          throw error;
      },
    });
    const onBound = (key: string): unknown => done.add(key);
    const outcome = await bindAll(client, { queue: "q", exchange: "x", keys, onBound }).then(
      () => "bound",
      (reason: unknown) => reason,
    );
    return { alone, trips, done, outcome };
  }

  it("are bound in a few trips", async () => {
    const { alone, trips, done, outcome } = await bound();
    expect(outcome).toBe("bound");
    expect(alone).toEqual([]);
    expect(trips).toEqual([...Array.from({ length: 6 }, () => 100), 1]);
    expect([...done].toSorted()).toEqual(keys.toSorted());
  });

  it("are not asked for any more when the first is refused, also by itself", async () => {
    const { alone, trips, done, outcome } = await bound(["key.0"]);
    expect(outcome).toMatchObject({ code: "ACCESS_REFUSED" });
    expect([alone, trips, done.size]).toEqual([["key.0"], [100], 0]);
  });

  it("are asked for one by one where one is refused, and reject with its refusal", async () => {
    const { alone, done, outcome } = await bound(["key.350"]);
    expect(outcome).toMatchObject({ code: "ACCESS_REFUSED" });
    expect(alone).toContain("key.350");
    // Those of the other trips, and those of the same that came before it.
    expect(done.size).toBeGreaterThan(300);
    expect(done.has("key.350")).toBe(false);
  });

  it("are not asked for again on a connection that is gone", async () => {
    const lost = new ConfluoError("CONNECTION_LOST", "gone");
    const { alone, outcome } = await bound(["key.350"], lost);
    expect(outcome).toBe(lost);
    expect(alone).toEqual([]);
  });

  it("are declared in a few trips, each queue with its bindings", async () => {
    const asked: (readonly TopologyRequest[])[] = [];
    const client = fakeClient({ request: async (requests) => void asked.push(requests) });
    const exchanges = ["a", "b", "c"].map((name) => ({ name, type: "fanout" as const }));
    await declareExchanges(client, exchanges);
    const binding = { exchange: "a", key: "" };
    const queues = ["q", "r"].map((name) => ({ name, arguments: {}, bindings: [binding] }));
    await declareQueues(client, queues);
    expect(asked).toEqual([
      exchanges.map((exchange) => ({ kind: "exchange", ...exchange })),
      [
        { kind: "queue", name: "q", arguments: {} },
        { kind: "binding", queue: "q", ...binding },
        { kind: "queue", name: "r", arguments: {} },
        { kind: "binding", queue: "r", ...binding },
      ],
    ]);
  });
});

it("binds all keys but the refused one, whichever it is, and tells of that", async () => {
  const keys = Array.from({ length: 250 }, (_, n) => `k${n}`);
  for (const bad of ["k1", "k5", "k120", "k249"]) {
    const bound = new Set<string>();
    const client = fakeClient({
      bind: async (_queue, _exchange, key) => {
        if (key === bad) throw new ConfluoError("ACCESS_REFUSED", `no right on ${key}`);
      },
      request: async (requests) => {
        if (requests.some((each) => each.kind === "binding" && each.key === bad))
          throw new ConfluoError("ACCESS_REFUSED", "no right");
      },
    });
    const all = bindAll(client, { queue: "q", exchange: "e", keys, onBound: (key) => bound.add(key) });
    await expect(all).rejects.toThrow(`no right on ${bad}`);
    expect(keys.filter((key) => !bound.has(key))).toEqual([bad]);
  }
});
