import { expect, it } from "vitest";
import { ConfluoError } from "../errors.ts";
import type { InstanceStats } from "../protocol/discovery/instance-answer.ts";
import { Namespace } from "../protocol/topology.ts";
import { fakeClient } from "../transport/session/fake-client.test-support.ts";
import { conflicts } from "./conflicts.ts";
import { byService } from "./service-stats.ts";

const nothing = { routes: [], subscriptions: [], calls: [], sends: [], publishes: [] };
const refused = (what: string): ConfluoError => new ConfluoError("ACCESS_REFUSED", `no right on ${what}`);
const away = (what: string): ConfluoError =>
  new ConfluoError("UNAVAILABLE", `the home node of ${what} is down`);

it.each([
  ["may not be looked at", refused],
  ["is on a node that is down", away],
])("a queue that %s is unknown, and the others are known", async (_, failure) => {
  const client = fakeClient({
    inspectQueue: async (name) => {
      if (name.endsWith(".dead")) throw failure(name);
      return name.endsWith(".inbox") ? { messages: 3, consumers: 1 } : undefined;
    },
  });
  const answer = { ...nothing, service: "s", instance: "i", unclaimed: 0 } as unknown as InstanceStats;
  const [stats] = await byService(client, new Namespace("c"), [answer]);
  expect(stats?.queues).toMatchObject({ inbox: { messages: 3 }, calls: undefined, dead: undefined });
  expect(stats?.unknownQueues).toEqual(["dead"]);
});

it("a limit that is reached says nothing of a queue: the look fails", async () => {
  const client = fakeClient({
    inspectQueue: async () => {
      throw new ConfluoError("UNAVAILABLE", "a limit on channels", { data: { limit: "channels" } });
    },
  });
  const answer = { ...nothing, service: "s", instance: "i", unclaimed: 0 } as unknown as InstanceStats;
  await expect(byService(client, new Namespace("c"), [answer])).rejects.toMatchObject({
    code: "UNAVAILABLE",
  });
});

it.each([
  ["may not be compared", refused],
  ["is on a node that is down", away],
])("a queue that %s is told, and the rest is compared", async (_, failure) => {
  const compared: string[] = [];
  const client = fakeClient({
    inspectQueue: async (name) => {
      if (name.endsWith(".calls")) throw failure(name);
      return { messages: 0, consumers: 0 };
    },
    declareQueue: async ({ name }) => {
      compared.push(name);
      return name;
    },
  });
  const parts = { namespace: new Namespace("c"), open: async () => client, newId: () => "id" };
  const found = await conflicts(parts, "s", undefined);
  expect(found.map(({ code, message }) => [code, message])).toEqual([
    [failure("").code, failure("c.s.calls").message],
  ]);
  expect(compared).toContain("c.s.inbox");
});
