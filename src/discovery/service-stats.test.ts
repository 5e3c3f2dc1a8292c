import { expect, it } from "vitest";
import { ConfluoError } from "../errors.ts";
import type { InstanceStats } from "../protocol/discovery/instance-answer.ts";
import { Namespace } from "../protocol/topology.ts";
import { fakeClient } from "../transport/session/fake-client.test-support.ts";
import { conflicts } from "./conflicts.ts";
import { byService } from "./service-stats.ts";

const nothing = { routes: [], subscriptions: [], calls: [], sends: [], publishes: [] };
const refused = (what: string): ConfluoError => new ConfluoError("ACCESS_REFUSED", `no right on ${what}`);

it("a queue that may not be looked at is unknown, and the others are known", async () => {
  const wire = fakeClient({
    inspectQueue: async (name) => {
      if (name.endsWith(".dead")) throw refused(name);
      return name.endsWith(".inbox") ? { messages: 3, consumers: 1 } : undefined;
    },
  });
  const answer = { ...nothing, service: "s", instance: "i", unclaimed: 0 } as unknown as InstanceStats;
  const [stats] = await byService(wire, new Namespace("c"), [answer]);
  expect(stats?.queues).toMatchObject({ inbox: { messages: 3 }, calls: undefined, dead: undefined });
  expect(stats?.unknownQueues).toEqual(["dead"]);
});

it("what may not be compared is told, and the rest is compared", async () => {
  const compared: string[] = [];
  const wire = fakeClient({
    inspectQueue: async (name) => {
      if (name.endsWith(".calls")) throw refused(name);
      return { messages: 0, consumers: 0 };
    },
    declareQueue: async ({ name }) => {
      compared.push(name);
      return name;
    },
  });
  const parts = { namespace: new Namespace("c"), open: async () => wire, newId: () => "id" };
  const found = await conflicts(parts, "s", undefined);
  expect(found.map(({ code, message }) => [code, message])).toEqual([
    ["ACCESS_REFUSED", "no right on c.s.calls"],
  ]);
  expect(compared).toContain("c.s.inbox");
});
