import { describe, expect, it } from "vitest";
import { type Comparison, pairResults } from "./comparison.ts";
import { formatComparison } from "./comparison-table.ts";
import type { Figures, Subject } from "./subject.ts";

function subject(name: string): Subject {
  return {
    name,
    title: name,
    quick: true,
    variants: ["old", "new"],
    needs: "calls",
    needsBroker: true,
    columns: [],
    expectSeconds: () => 1,
    measure: async () => ({}),
  };
}

function figures(perSecond: number, us: number): Figures {
  return { perSecond, requesterUs: us, handlersUs: us, brokerUs: 2 * us };
}

const slower = subject("calls-64/confluo");
const failing = subject("events-1/confluo");

const comparison: Comparison = {
  startedAt: "2020-02-03T04:05:06.000Z",
  interrupted: false,
  machine: {
    cpu: "Some CPU",
    cores: 4,
    memoryGb: 16,
    os: "Linux 6.1 x64",
    node: "20.19.0",
    rabbitmq: "4.0.5",
    commit: "abcdef1+",
  },
  settings: { pairs: 3, seconds: 2 },
  old: { revision: "main", commit: "0123456789abcdef0123456789abcdef01234567" },
  cases: pairResults([
    {
      subject: slower,
      variant: "old",
      rounds: [figures(1_000, 10), figures(2_000, 10), figures(1_500, 10)],
      failure: undefined,
    },
    {
      subject: slower,
      variant: "new",
      rounds: [figures(900, 10), figures(1_820, 10), figures(1_335, 10)],
      failure: undefined,
    },
    { subject: failing, variant: "old", rounds: [], failure: "it never answered" },
    { subject: failing, variant: "new", rounds: [figures(1, 1)], failure: undefined },
  ]),
};

describe("the table of a comparison", () => {
  it("shows what was compared, ratios with their intervals, and what they mean", () => {
    expect(formatComparison(comparison)).toBe(
      `
2020-02-03 · Some CPU, 4 cores · 16 GB · Linux 6.1 x64 · Node 20.19.0 · RabbitMQ 4.0.5

- old: 0123456 (main)
- new: the working tree, at abcdef1 with uncommitted changes

3 pairs, 2 s each

**msg/s**

| case             |   old |   new | new/old |  95 % interval | median | least | greatest | pairs |
| ---------------- | ----: | ----: | ------: | -------------: | -----: | ----: | -------: | ----: |
| calls-64/confluo | 1,500 | 1,335 |   0.900 | 0.875 to 0.925 |  0.900 | 0.890 |    0.910 |     3 |
| events-1/confluo |     – |     – |       – |              – |      – |     – |        – |     0 |

**CPU µs/msg**

| case             |  old |  new | new/old |  95 % interval | median | least | greatest | pairs | requester | handlers | broker |
| ---------------- | ---: | ---: | ------: | -------------: | -----: | ----: | -------: | ----: | --------: | -------: | -----: |
| calls-64/confluo | 40.0 | 40.0 |   1.000 | 1.000 to 1.000 |  1.000 | 1.000 |    1.000 |     3 |     1.000 |    1.000 |  1.000 |
| events-1/confluo |    – |    – |       – |              – |      – |     – |        – |     0 |         – |        – |      – |

Of requester, handlers and broker together; the last columns are the ratio of each.

events-1/confluo: old failed: it never answered

- calls-64/confluo, msg/s: slower: the interval lies below 0.97, which stops a change.
- calls-64/confluo, CPU µs/msg: no difference seen: the interval includes 1.0.
- events-1/confluo, msg/s: unknown.
- events-1/confluo, CPU µs/msg: unknown.
`.trim(),
    );
  });

  it("says when the broker's CPU is unknown, when the run was ended early and when nothing was changed", () => {
    const cases = comparison.cases.map((one) => ({ ...one, pairs: [] }));
    const machine = { ...comparison.machine, commit: "abcdef1" };
    const text = formatComparison({ ...comparison, machine, cases, interrupted: true });
    expect(text).toContain("Of requester and handlers together: the broker's is unknown.");
    expect(text).toContain("3 pairs, 2 s each; ended early, so some are missing");
    expect(text).toContain("- new: the working tree, at abcdef1, unchanged\n");
  });
});
