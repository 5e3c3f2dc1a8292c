import { expect, it } from "vitest";
import { aboutPolicies, queuePolicy } from "./policies.ts";

const given = (
  name: string,
  settings: unknown,
  policy: object = { policy: "p" },
): Record<string, unknown> => ({
  name,
  effective_policy_definition: settings,
  ...policy,
});

const about = (...queues: readonly Record<string, unknown>[]): readonly string[] =>
  aboutPolicies(queues.flatMap((each) => queuePolicy("ns", each) ?? [])).map(
    ({ level, what }) => `${level} ${what}`,
  );

it("no policy, a harmless one and those of other namespaces are well", () => {
  const well = ["ok No policy destroys confluo's messages."];
  expect(about()).toEqual(well);
  expect(
    about(
      given("ns.w.dead", []),
      given("ns.w.dead", {}, {}),
      given("ns.w.inbox", { "max-in-memory-length": 5, "dead-letter-exchange": "x", overflow: "drop-head" }),
      given("other.w.dead", { expires: 5 }),
      given("ns.wait.2", { "message-ttl": 1_000, "delivery-limit": 3 }),
      given("ns.w.calls", { expires: 60_000, "delivery-limit": 3 }),
    ),
  ).toEqual(well);
});

it("says of every setting what it destroys, by the kind of queue", () => {
  const all = { "message-ttl": 2_000, "max-length": 3, expires: 3_000, "delivery-limit": 2 };
  const of = (name: string, settings: object = all): string => about(given(name, settings)).join("\n");
  expect(of("ns.w.dead")).toMatch(
    /^problem The policy p sets message-ttl to 2000 on ns\.w\.dead: letters are destroyed after 2\.0 s\.\nproblem .*max-length .*destroys the oldest\.\nproblem .*expires .*nothing ever consumes it\.\nproblem .*delivery-limit .*reads 3 times is destroyed/,
  );
  expect(of("ns.orphans", { "delivery-limit": 0 })).toContain("read once is destroyed");
  expect(of("ns.orphans", { "max-length-bytes": 9, overflow: "reject-publish" })).toContain(
    "accepts no letters",
  );
  expect(of("ns.w.inbox")).toMatch(
    /become dead letters.*\n.*retries of all services are stuck.*\n.*is down for longer are lost.*\n.*returns 3 times/,
  );
  expect(of("ns.w.inbox.again", { expires: 1 })).toMatch(/^problem /);
  expect(of("ns.wait.4")).toMatch(
    /retries and delayed messages come after 2\.0 s instead of 4\.0 s.*\n.*cannot wait there.*\n.*destroyed/,
  );
  expect(of("ns.wait.0", { "dead-letter-routing-key": "x" })).toContain(
    "every retry that waits here goes to that queue",
  );
  expect(of("ns.w.calls.batch")).toMatch(/^warning .*vanish.*\nwarning .*\nwarning .*restart/);
  expect(of("ns.w.dead", { "dead-letter-exchange": "x" })).toMatch(/^warning .*goes there instead/);
});

it("says it once for all queues that it is the same for, and tells an operator's policies apart", () => {
  const queues = ["a", "b", "c", "d", "e"].map((name) => given(`ns.${name}.dead`, { "message-ttl": 60_000 }));
  expect(about(...queues)).toEqual([
    "problem The policy p sets message-ttl to 60000 on ns.a.dead, ns.b.dead, ns.c.dead and 2 more: letters are destroyed after 1 min.",
  ]);
  const [finding] = aboutPolicies(
    [queuePolicy("ns", given("ns.w.dead", { expires: 1 }, { operator_policy: "o" }))].flatMap(
      (each) => each ?? [],
    ),
  );
  expect(finding?.what).toMatch(/^The operator policy o sets expires to 1 /);
  expect(finding?.todo).toContain("clear_operator_policy");
});
