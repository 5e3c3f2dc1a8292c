import { expect, it } from "vitest";
import { z } from "zod";
import { encodeQuestion } from "../protocol/discovery/instance-answer.ts";
import type { CommandEntry } from "../registry/registry.ts";
import { Registry } from "../registry/registry.ts";
import { defaultRetry } from "../retry/policy.ts";
import { DelayRecorder } from "../statistics/delays.ts";
import { HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import { InstanceReport } from "./instance-report.ts";

it("leaves out a contract whose JSON Schema cannot be written, and answers all the same", () => {
  const round: Record<string, unknown> = {};
  round.again = round;
  const schema = (made: object) =>
    ({
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) => ({ value }),
        jsonSchema: { input: () => made, output: () => made },
      },
    }) as never;
  const registry = new Registry();
  const handler = {
    handler: () => 1,
    tally: new HandlerStatsRecorder(),
    timeoutMs: 1_000,
    retry: defaultRetry,
  };
  registry.routes.add("/round", {
    ...handler,
    pattern: "/round",
    contract: { input: schema(round), output: schema({ type: "number" }) } as never,
  });
  const introspection = introspectionOf(registry);
  const answer = introspection.answer(encodeQuestion("info", { id: "1", replyTo: "q", ms: 1_000 }));
  const { routes } = JSON.parse(new TextDecoder().decode(answer?.message.body)) as { routes: unknown };
  expect(routes).toEqual([{ path: "/round", output: { type: "number" } }]);
});

it("describes both legs as they travel, which is what a schema takes in", () => {
  const registry = new Registry();
  const date = z.string().transform((text) => new Date(text));
  const schema = z.object({ at: date, note: z.string().default("") });
  const handler = {
    handler: () => 1,
    tally: new HandlerStatsRecorder(),
    timeoutMs: 1_000,
    retry: defaultRetry,
  };
  const contract = { input: schema, output: schema } as unknown as NonNullable<CommandEntry["contract"]>;
  registry.routes.add("/next", { ...handler, pattern: "/next", contract });
  const [route] = introspectionOf(registry).info().routes;
  for (const leg of [route?.input, route?.output]) {
    expect(leg).toMatchObject({
      properties: { at: { type: "string" }, note: { default: "" } },
      required: ["at"],
    });
    expect(leg).not.toHaveProperty("additionalProperties");
  }
});

function introspectionOf(registry: Registry): InstanceReport {
  return new InstanceReport({
    service: "s",
    instance: "i",
    version: undefined,
    registry,
    health: () => ({ status: "healthy", state: "running", detached: [] }) as never,
    underWay: () => ({ calling: 0, unconfirmed: 0 }),
    reconnects: () => 0,
    uses: () => undefined,
    delays: new DelayRecorder(),
  });
}
