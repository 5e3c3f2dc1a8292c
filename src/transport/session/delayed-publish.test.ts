import { describe, expect, it } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { header } from "../../protocol/codec.ts";
import { LONGEST_PASS_MS } from "../../protocol/delays.ts";
import type { Message } from "../../protocol/message.ts";
import { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient, PublishFailure } from "../amqp-client.ts";
import { DelayLevels } from "../queues/delay-levels.ts";
import { publishDelayed } from "./delayed-publish.ts";
import { fakeClient } from "./fake-client.test-support.ts";

const message: Message = { body: new Uint8Array(1), properties: { type: "/a", headers: { h: "1" } } };

/** Publishes once over a client whose publishes end in the given ways, the last one again and again. */
async function publishing(
  waitMs: number,
  own: Partial<AmqpClient> = {},
  ends: (PublishFailure | undefined)[] = [],
) {
  const sent: { readonly route: string; readonly message: Message }[] = [];
  const declared: string[] = [];
  const used: number[] = [];
  const client = fakeClient({
    inspectQueue: async () => ({ messages: 0, consumers: 0 }),
    declareQueue: async ({ name }) => {
      declared.push(name);
      return name;
    },
    publish: ({ exchange, key }, published, settled) => {
      sent.push({ route: `${exchange} ${key.replaceAll(/^(?:[01]\.)+/g, "")}`, message: published });
      setImmediate(settled, ends.length > 1 ? ends.shift() : ends[0]);
    },
    ...own,
  });
  const namespace = new Namespace("c");
  const connection = {
    client: own === gone ? undefined : client,
    connections: 1,
    namespace,
    levels: new DelayLevels(namespace),
    declareShared: async () => undefined,
    newId: () => "id",
    warn: () => undefined,
  };
  const levels = {
    use: async (on: AmqpClient, quarters: number) => {
      await connection.levels.declare(on, quarters);
      used.push(quarters);
    },
  };
  const end = await publishDelayed(connection, levels, { service: "s", waitMs, message });
  return { end, sent, declared, used };
}

const gone: Partial<AmqpClient> = {};

describe("a delayed message", () => {
  it("goes to the level of its highest digit, once the levels of all its digits are declared", async () => {
    const { end, sent, declared, used } = await publishing(1_100);
    expect(end).toEqual({});
    expect(sent).toEqual([{ route: "c.wait.2 c.s.inbox", message }]);
    expect(declared).toEqual(["c.wait.0", "c.wait.2"]);
    expect(used).toEqual([5]);
  });

  it("says what is left after its pass", async () => {
    const { sent } = await publishing(LONGEST_PASS_MS + 5_000);
    expect(sent[0]?.route).toBe("c.wait.25 c.s.inbox");
    expect(sent[0]?.message.properties.headers).toEqual({ h: "1", [header.wait]: "5000" });
  });

  it("is returned if there is no inbox, and not if that cannot be known", async () => {
    const missing = await publishing(250, { inspectQueue: async () => undefined });
    expect([missing.end, missing.sent]).toEqual([{ rejection: "returned" }, []]);
    for (const code of ["ACCESS_REFUSED", "UNAVAILABLE"] as const) {
      const inspectQueue = () => Promise.reject(new ConfluoError(code, "no"));
      expect((await publishing(250, { inspectQueue })).end).toEqual({});
    }
    const inspectQueue = () => Promise.reject(new ConfluoError("CONNECTION_LOST", "gone"));
    expect((await publishing(250, { inspectQueue })).end).toEqual({ rejection: "lost" });
  });

  it("is published again if somebody has deleted its level, and refused if that does not help", async () => {
    const again = await publishing(250, {}, ["returned", undefined]);
    expect([again.end, again.sent.length, again.declared]).toEqual([{}, 2, ["c.wait.0", "c.wait.0"]]);
    expect((await publishing(250, {}, ["returned"])).end).toEqual({ rejection: "refused" });
    const refused = await publishing(250, {}, ["refused"]);
    expect([refused.end, refused.sent.length]).toEqual([{ rejection: "refused" }, 1]);
  });

  it("is not published if its levels cannot be declared", async () => {
    for (const [code, rejection] of [
      ["ACCESS_REFUSED", "forbidden"],
      ["TOPOLOGY_CONFLICT", "refused"],
      ["CONNECTION_LOST", "lost"],
    ] as const) {
      const declareQueue = () => Promise.reject(new ConfluoError(code, "no"));
      const { end, sent } = await publishing(250, { declareQueue });
      expect([end.rejection, sent]).toEqual([rejection, []]);
    }
    const { end } = await publishing(250, { declareExchange: () => Promise.reject(new Error("odd")) });
    expect(end).toMatchObject({ rejection: "refused", why: { code: "UNAVAILABLE" } });
  });

  it("is lost without a connection", async () => {
    expect((await publishing(250, gone)).end).toEqual({ rejection: "lost" });
  });
});
