import { describe, expect, it } from "vitest";
import { aboutDelays, aboutOldDelays, isHeldUp, queueState } from "./delays.ts";

const inbox = {
  name: "ns.full.inbox",
  type: "quorum",
  messages: 50,
  messages_ready: 50,
  messages_unacknowledged: 0,
};
const delay = {
  name: "ns.wait.3",
  type: "quorum",
  messages: 65,
  messages_ready: 0,
  messages_unacknowledged: 0,
};
const limited = { policy: "t6", effective_policy_definition: { "max-length": 50 } };
const states = (...given: readonly Readonly<Record<string, unknown>>[]) =>
  given.flatMap((each) => queueState("ns", each) ?? []);

describe("a queue", () => {
  it.each([
    ["it is full by a policy", limited, "a policy (t6) sets its max-length to 50"],
    [
      "it is full of bytes",
      { message_bytes: 99, policy: "b", effective_policy_definition: { "max-length-bytes": 100 } },
      "max-length-bytes to 100",
    ],
    ["it has no majority", { members: ["a", "b", "c"], online: ["a"] }, "1 of its 3 nodes is up"],
    ["it is down", { state: "down" }, "its state is down"],
  ])("takes nothing if %s", (_why, own, reason) => {
    const [state] = states({ ...inbox, ...own });
    expect(state?.refuses).toContain(reason);
  });

  it.each([
    {},
    { effective_policy_definition: [] },
    { ...limited, messages: 49 },
    { members: ["a", "b", "c"], online: ["a", "b"] },
    { state: "running" },
  ])("takes what it is given otherwise: %j", (own) =>
    expect(states({ ...inbox, ...own })[0]?.refuses).toBeUndefined(),
  );

  it("of another namespace is none of ours", () => {
    expect(
      states({ ...inbox, name: "other.full.inbox" }, { name: 7 }, { ...inbox, name: "ns2.x.inbox" }),
    ).toEqual([]);
  });

  it("is held up if as many are on their way as RabbitMQ has under way, and it is one for delays", () => {
    const held = (own: object) => states({ ...delay, ...own }).map(isHeldUp);
    expect([held({}), held({ messages: 31 }), held({ messages_ready: 60 })]).toEqual([
      [true],
      [false],
      [false],
    ]);
    expect(held({ name: "ns.wait.inbox" })).toEqual([false]);
  });
});

describe("delays", () => {
  it("that come back are fine", () => {
    for (const queues of [undefined, states(inbox)])
      expect(aboutDelays([], queues)).toMatchObject([{ level: "ok" }]);
  });

  it("that stand still are a problem that says what grows, and what it waits for", () => {
    const [found, ...others] = aboutDelays(["ns.wait.3"], states(delay, { ...inbox, ...limited }));
    expect(others).toEqual([]);
    expect(found?.level).toBe("problem");
    expect(found?.what).toContain("ns.wait.3 (65 messages stuck)");
    expect(found?.what).toContain("ns.full.inbox accepts no messages: a policy (t6)");
    const [bare] = aboutDelays(["ns.wait.0"], undefined);
    expect([bare?.level, bare?.todo]).toEqual(["problem", expect.stringContaining("--management")]);
    const [longer] = aboutDelays([], states({ ...delay, name: "ns.wait.10" }));
    expect(longer?.what).toContain("ns.wait.10 (65 messages stuck)");
  });

  it("are told of a queue that takes nothing before anything stands still", () => {
    const found = aboutDelays([], states({ ...inbox, ...limited }));
    expect(found).toMatchObject([
      { level: "problem", what: expect.stringContaining("ns.full.inbox accepts no messages") },
    ]);
  });
});

describe("delay queues of an earlier build", () => {
  it("are none of today's worries where there are none", () => expect(aboutOldDelays([])).toEqual([]));

  it("are named, with what still waits there", () => {
    const empty = { name: "ns.delay.250", messages: 0 };
    expect(aboutOldDelays([empty])).toMatchObject([
      {
        level: "warning",
        what: expect.stringContaining("ns.delay.250"),
        todo: expect.stringContaining("Delete them"),
      },
    ]);
    const [found] = aboutOldDelays([empty, { name: "ns.delay.1000", messages: 2 }]);
    expect(found?.what).toBe(
      "2 messages still wait in delay queues of an earlier build: ns.delay.250 and ns.delay.1000.",
    );
    expect(found?.todo).toContain("when they are empty");
  });
});
