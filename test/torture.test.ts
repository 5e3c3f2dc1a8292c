/** The ledger finds what it is there to find; and a short run of it, without restarts of the broker. */

import { describe, expect, it } from "vitest";
import { testBrokerUrl } from "./support/rabbitmq.ts";
import { Account } from "./torture/account.ts";
import { planFaults } from "./torture/faults.ts";
import { parseFact } from "./torture/ledger.ts";
import { makeReport } from "./torture/report.ts";
import { findLongestStall } from "./torture/stalls.ts";
import { torture } from "./torture/torture.ts";

function accountOf(...lines: readonly string[]): Account {
  const account = new Account();
  for (const line of lines) account.take(parseFact(line, "press-0.1"));
  return account;
}

function reportOf(account: Account): ReturnType<typeof makeReport> {
  return makeReport({
    account,
    troubles: [],
    happened: [],
    counts: new Map(),
    skipped: 0,
    brokerDown: [],
    delayed: false,
    seed: 1,
    startedAt: 0,
    publishedUntil: 100,
    finished: 200,
    steadyName: "north-0",
  });
}

describe("the account", () => {
  const event = "publish.all.press-0.1.1";
  const command = "send.south.press-0.1.2";
  const call = "call.south.press-0.1.3";

  it("counts an event as lost for the one service that neither handled nor dead-lettered it", () => {
    const account = accountOf(`1 asked ${event}`, `2 confirmed ${event}`, `3 handled north ${event} 1`);
    expect(account.total("north", false)).toMatchObject({ confirmed: 1, handled: 1, lost: 0 });
    expect(account.total("south", false)).toMatchObject({ confirmed: 1, handled: 0, lost: 1 });
    expect(reportOf(account).lost).toBe(1);
  });

  it("takes a dead letter for an end, a failure without one for none", () => {
    const account = accountOf(
      `1 asked ${command}`,
      `2 confirmed ${command}`,
      `3 failed south ${command} 1`,
      `3 asked ${event}`,
    );
    expect(account.countOpen("south")).toBe(1);
    expect(account.total("south", false)).toMatchObject({ lost: 1 });
    expect(account.total("south", true)).toMatchObject({ lost: 0, waiting: 1 });
    account.takeLetter("south", { id: command, code: "ON_PURPOSE" });
    expect(account.countOpen("south")).toBe(0);
    expect(account.total("south", false)).toMatchObject({
      lost: 0,
      deadLettered: 1,
      failedThenDeadLettered: 1,
    });
  });

  it("counts what was handled twice, and what was handled without a confirm, apart", () => {
    const account = accountOf(
      `1 asked ${command}`,
      `2 rejected ${command} CONNECTION_LOST`,
      `3 handled south ${command} 1`,
      `4 handled south ${command} 1`,
    );
    expect(account.total("south", false)).toMatchObject({
      confirmed: 0,
      lost: 0,
      handledTwice: 1,
      unconfirmedHandled: 1,
    });
  });

  it("tells calls that hung, that were answered wrongly and whose caller was killed", () => {
    const settled = accountOf(`1 asked ${call}`, `2 rejected ${call} TIMEOUT`);
    expect([...settled.outcomes]).toEqual([["TIMEOUT", 1]]);
    expect(reportOf(settled)).toMatchObject({ hung: 0, wrong: 0 });
    expect(accountOf(`1 asked ${call}`).callsCutShort).toBe(1);
    expect(reportOf(accountOf(`1 asked ${call}`, `9 hung ${call}`))).toMatchObject({ hung: 1, wrong: 0 });
    expect(reportOf(accountOf(`1 asked ${call}`, `9 wrong ${call} answer`))).toMatchObject({
      hung: 0,
      wrong: 1,
    });
  });

  it("finds a message that nobody sent, and one that was left in an inbox", () => {
    expect(reportOf(accountOf(`3 handled south ${command} 1`)).wrong).toBe(1);
    const left = accountOf(`1 asked ${command}`, `2 confirmed ${command}`);
    left.takeLeft("south", { id: command, code: "none" });
    expect(reportOf(left)).toMatchObject({ lost: 0, hung: 1 });
  });
});

describe("the longest stall", () => {
  const forever = Number.POSITIVE_INFINITY;

  it("begins when there is work and counts no time in which the broker was down", () => {
    const work = [
      { from: 100, to: 200 },
      { from: 500, to: 900 },
    ];
    expect(findLongestStall({ work, progress: [200, 900], brokerDown: [], end: 2_000 })).toEqual({
      from: 500,
      to: 900,
      ms: 400,
    });
    const brokerDown = [{ from: 450, to: 850 }];
    expect(findLongestStall({ work, progress: [200, 900], brokerDown, end: 2_000 })?.ms).toBe(100);
  });

  it("lasts to the end if the work is never done", () => {
    const stall = findLongestStall({
      work: [{ from: 100, to: forever }],
      progress: [50, 150],
      brokerDown: [],
      end: 1_000,
    });
    expect(stall).toEqual({ from: 150, to: 1_000, ms: 850 });
  });
});

describe("the plan of faults", () => {
  const plan = {
    seed: 7,
    forMs: 60_000,
    members: [
      { name: "a", steady: true },
      { name: "b", steady: false },
    ],
    everyMs: 1_000,
    brokerEveryMs: 10_000,
  };

  it("is the same for the same seed and another for another", () => {
    expect(planFaults(plan)).toEqual(planFaults(plan));
    expect(planFaults(plan)).not.toEqual(planFaults({ ...plan, seed: 8 }));
  });

  it("ends and pauses no steady process", () => {
    const ending = planFaults(plan).filter(({ fault }) =>
      ["kill", "terminate", "pause"].includes(fault.kind),
    );
    expect(ending.length).toBeGreaterThan(5);
    expect(ending.filter(({ fault }) => "member" in fault && fault.member === "a")).toEqual([]);
  });
});

describe("under torture", () => {
  it("loses nothing, lets nothing hang and answers nothing wrongly", async () => {
    const report = await torture({
      brokerUrls: [testBrokerUrl()],
      forMs: 15_000,
      seed: 1,
      rate: 100,
      faultEveryMs: 1_200,
      drainMs: 40_000,
      log: () => undefined,
    });
    expect(report, report.text).toMatchObject({ lost: 0, hung: 0, wrong: 0 });
    expect(report.handled, report.text).toBeGreaterThan(100);
  }, 150_000);
});
