/** The ledger finds what it is there to find; and a short run of it, without restarts of the broker. */

import { describe, expect, it } from "vitest";
import { testBrokerUrl } from "./support/rabbitmq.ts";
import { Account } from "./torture/account.ts";
import { Disturbances } from "./torture/disturbances.ts";
import { planFaults } from "./torture/faults.ts";
import { parseFact } from "./torture/ledger.ts";
import { atMost } from "./torture/limit.ts";
import { makeReport, type Report } from "./torture/report.ts";
import { findLongestStall } from "./torture/stalls.ts";
import { type TortureOptions, torture } from "./torture/torture.ts";

function accountOf(...lines: readonly string[]): Account {
  const account = new Account();
  for (const line of lines) account.take(parseFact(line, "press-0.1"));
  return account;
}

const ended = { leftAt: 10_000, quiet: true };

interface Moment {
  readonly who: string;
  readonly at: number;
}

function disturbancesOf(moments: readonly Moment[]): Disturbances {
  let now = 0;
  const disturbances = new Disturbances(() => now);
  for (const { who, at } of moments) {
    now = at;
    disturbances.begin(who, "cut")();
  }
  return disturbances;
}

function reportOf(account: Account, ...disturbed: readonly Moment[]): Report {
  return makeReport({
    ...ended,
    account,
    troubles: [],
    counts: new Map(),
    skipped: 0,
    disturbances: disturbancesOf(disturbed),
    members: [
      { name: "south-0", service: "south" },
      { name: "south-1", service: "south" },
    ],
    recoveryMs: 5_000,
    epoch: 0,
    seed: 1,
    startedAt: 0,
    publishedUntil: 100,
    finished: 200,
    steadyName: "north-0",
  });
}

function letter(id: string, code: string, failedAt?: number): Parameters<Account["takeLetter"]>[1] {
  return { id, code, key: "", failedAt };
}

describe("the account", () => {
  const event = "publish.all.press-0.1.1";
  const command = "send.south.press-0.1.2";
  const call = "call.south.press-0.1.3";

  it("counts an event as lost for the one service that neither handled nor dead-lettered it", () => {
    const account = accountOf(`1 asked ${event}`, `2 confirmed ${event}`, `3 handled north ${event} 1`);
    expect(account.total("north", ended)).toMatchObject({ confirmed: 1, handled: 1, lost: 0 });
    expect(account.total("south", ended)).toMatchObject({ confirmed: 1, handled: 0, lost: 1 });
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
    expect(account.total("south", ended)).toMatchObject({ lost: 1 });
    account.takeWaiting("south", letter(command, "none"));
    expect(account.total("south", ended)).toMatchObject({ lost: 0, waiting: 1 });
    account.takeLetter("south", letter(command, "ON_PURPOSE"));
    expect(account.countOpen("south")).toBe(0);
    expect(account.total("south", ended)).toMatchObject({
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
    expect(account.total("south", ended)).toMatchObject({
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
    left.takeLeft("south", letter(command, "none"));
    expect(reportOf(left)).toMatchObject({ lost: 0, hung: 1 });
  });
});

describe("the verdicts", () => {
  const call = "call.south.press-0.1.1.plain";
  const asked = `10000 asked ${call}`;
  const late = `18000 rejected ${call} TIMEOUT`;

  function accountWith(handled: string | undefined, outcome: string): Account {
    const account = accountOf(asked, outcome);
    if (handled !== undefined) account.take(parseFact(handled, "south-0.1"));
    return account;
  }

  it("counts a call without an answer whose handler ended in good time, unless a fault was near", () => {
    const account = accountWith(`11000 handled south ${call} 1`, late);
    expect(reportOf(account)).toMatchObject({ unanswered: 1, unexplained: 0, problems: 1 });
    expect(reportOf(account).text).toContain(`unanswered: ${call}`);
    for (const who of ["press-0", "south-0", "broker"])
      expect(reportOf(account, { who, at: 11_500 }), who).toMatchObject({ problems: 0 });
    expect(reportOf(account, { who: "south-1", at: 11_500 })).toMatchObject({ unanswered: 1 });
    expect(reportOf(account, { who: "south-0", at: 17_000 })).toMatchObject({ unanswered: 1 });
  });

  it("counts a time-out of a call that nobody handled in good time, unless anyone it needs was disturbed", () => {
    for (const handled of [undefined, `17000 handled south ${call} 1`]) {
      const account = accountWith(handled, late);
      expect(reportOf(account)).toMatchObject({ unanswered: 0, unexplained: 1 });
      for (const who of ["press-0", "south-0", "south-1", "broker"])
        expect(reportOf(account, { who, at: 11_500 }), who).toMatchObject({ problems: 0 });
      expect(reportOf(account, { who: "press-1", at: 11_500 })).toMatchObject({ unexplained: 1 });
      expect(reportOf(account, { who: "south-0", at: 2_000 })).toMatchObject({ unexplained: 1 });
    }
  });

  it("explains a lost connection by its sender or the broker alone, and INSTANCE_LOST by two losses", () => {
    const cut = accountWith(undefined, `11000 rejected ${call} CONNECTION_LOST`);
    expect(reportOf(cut, { who: "south-0", at: 10_900 })).toMatchObject({ unexplained: 1 });
    expect(reportOf(cut, { who: "press-0", at: 10_900 })).toMatchObject({ problems: 0 });
    const lost = accountWith(undefined, `13000 rejected ${call} INSTANCE_LOST`);
    const once = { who: "south-0", at: 10_500 };
    expect(reportOf(lost, once)).toMatchObject({ unexplained: 1 });
    expect(reportOf(lost, once, { who: "south-1", at: 12_000 })).toMatchObject({ problems: 0 });
  });

  it("takes a refusal for right only where the message is such", () => {
    const refused = (trait: string, code: string): Report =>
      reportOf(
        accountOf(
          `1 asked call.south.press-0.1.2.${trait}`,
          `2 rejected call.south.press-0.1.2.${trait} ${code}`,
        ),
      );
    expect(refused("big", "INVALID_ARGUMENT")).toMatchObject({ problems: 0 });
    expect(refused("plain", "INVALID_ARGUMENT")).toMatchObject({ wrong: 1 });
    expect(refused("new", "NO_SUCH_ROUTE")).toMatchObject({ problems: 0 });
    expect(refused("plain", "NO_SUCH_ROUTE")).toMatchObject({ wrong: 1 });
    const handled = accountOf(
      "1 asked send.south.press-0.1.3.big",
      "3 handled south send.south.press-0.1.3.big 1",
    );
    expect(reportOf(handled)).toMatchObject({ wrong: 1 });
  });

  it("finds an innocent dead letter, and poison that killed too many", () => {
    const command = "send.south.press-0.1.4.plain";
    const innocent = accountOf(`20000 asked ${command}`, `20001 confirmed ${command}`);
    innocent.takeLetter("south", letter(command, "INSTANCE_LOST", 25_000));
    const at = (ms: number): Moment => ({ who: "south-0", at: ms });
    expect(reportOf(innocent, at(21_000), at(22_000))).toMatchObject({ lost: 0, wrong: 1 });
    expect(reportOf(innocent, at(21_000), at(22_000), at(23_000))).toMatchObject({ problems: 0 });

    const poison = "send.south.press-0.1.5.poison";
    const lines = [`20000 asked ${poison}`, `20001 confirmed ${poison}`];
    const deaths = [21, 22, 23, 24].map((second) => `${second}000 died south ${poison} 1`);
    const [three, four] = [3, 4].map((count) => accountOf(...lines, ...deaths.slice(0, count)));
    for (const account of [three, four])
      account?.takeLetter("south", letter(poison, "INSTANCE_LOST", 26_000));
    expect(reportOf(three as Account)).toMatchObject({ problems: 0 });
    expect(reportOf(four as Account)).toMatchObject({ wrong: 1 });
  });

  it("finds what was handled, long ago and well, and yet lies in the inbox", () => {
    const command = "send.south.press-0.1.6.plain";
    const account = accountOf(`1 asked ${command}`, `2 confirmed ${command}`, `3 handled south ${command} 1`);
    account.takeLeft("south", letter(command, "none"));
    expect(reportOf(account)).toMatchObject({ lost: 0, wrong: 1 });
    expect(reportOf(account).text).toContain("it was not acknowledged");
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

describe("the limit of a clean-up", () => {
  it("ends the wait for what never ends, and nothing else", async () => {
    const never = new Promise<never>(() => undefined);
    await expect(atMost(20, never)).rejects.toThrow("it did not end within 0.02 s");
    expect(await atMost(10_000, Promise.resolve("done"))).toBe("done");
    await expect(atMost(10_000, Promise.reject(new Error("failed")))).rejects.toThrow("failed");
  });
});

describe("the plan of faults", () => {
  const plan = {
    seed: 7,
    forMs: 60_000,
    members: [
      { name: "a", steady: true, program: "consumer" },
      { name: "b", steady: false, program: "publisher" },
    ],
    everyMs: 1_000,
    brokerEveryMs: 10_000,
    nodes: 0,
  } as const;

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

const short: TortureOptions = {
  brokerUrls: [],
  forMs: 15_000,
  seed: 1,
  rate: 100,
  faultEveryMs: 1_200,
  poisonEveryMs: 6_000,
  drainMs: 40_000,
  log: () => undefined,
};

describe("under torture", () => {
  it("loses nothing, lets nothing hang and answers nothing wrongly, and reports before it cleans up", async () => {
    const logged: string[] = [];
    const report = await torture({
      ...short,
      brokerUrls: [testBrokerUrl()],
      log: (line) => logged.push(line),
    });
    expect(report, report.text).toMatchObject({
      problems: 0,
      lost: 0,
      hung: 0,
      wrong: 0,
      unanswered: 0,
      unexplained: 0,
    });
    expect(report.handled, report.text).toBeGreaterThan(100);
    expect(logged).toContain(report.text);
  }, 150_000);

  // Without faults: these are the package's own.
  it.each([
    { mutant: "publishes", oneIn: 50, found: "lost", told: /^lost: (north|south) (publish|send)\./m },
    { mutant: "acknowledgements", oneIn: 2, found: "wrong", told: /^wrong: .* it was not acknowledged$/m },
    { mutant: "letters", oneIn: 2, found: "lost", told: /^lost: .* failed [14] times$/m },
    { mutant: "answers", oneIn: 50, found: "unanswered", told: /^unanswered: call\./m },
  ] as const)(
    "finds a package that drops one in $oneIn of its $mutant",
    // It is chance whether one is dropped that no later acknowledgement of several covers.
    { timeout: 60_000, retry: 2 },
    async ({ mutant, oneIn, found, told }) => {
      const report = await torture({
        ...short,
        brokerUrls: [testBrokerUrl()],
        mutation: { mutant, oneIn },
        forMs: 4_000,
        small: true,
        faultEveryMs: 0,
        poisonEveryMs: 0,
        drainMs: 10_000,
      });
      expect(report[found], report.text).toBeGreaterThan(0);
      expect(report.text).toMatch(told);
      expect(report.handled, report.text).toBeGreaterThan(100);
    },
  );
});
