import { expect, it } from "vitest";
import { encodeQuestion } from "../protocol/discovery.ts";
import { defaultRetry } from "../retry/policy.ts";
import { Introspection } from "./introspection.ts";
import { Registry } from "./registry.ts";
import { Tally } from "./tally.ts";

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
  const handler = { handler: () => 1, tally: new Tally(), timeoutMs: 1_000, retry: defaultRetry };
  registry.routes.add("/round", {
    ...handler,
    pattern: "/round",
    contract: { input: schema(round), output: schema({ type: "number" }) } as never,
  });
  const introspection = new Introspection({
    service: "s",
    instance: "i",
    version: undefined,
    registry,
    health: () => ({ status: "healthy", state: "running", detached: [] }) as never,
    underWay: () => ({ calling: 0, unconfirmed: 0 }),
    reconnects: () => 0,
  });
  const answer = introspection.answer(encodeQuestion("info", { id: "1", replyTo: "q", ms: 1_000 }));
  const { routes } = JSON.parse(new TextDecoder().decode(answer?.message.body)) as { routes: unknown };
  expect(routes).toEqual([{ path: "/round", output: { type: "number" } }]);
});
