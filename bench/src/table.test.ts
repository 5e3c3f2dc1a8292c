import { describe, expect, it } from "vitest";
import type { Report } from "./report.ts";
import { makeSections } from "./report.ts";
import type { Subject } from "./subject.ts";
import { formatReport, formatTable } from "./table.ts";

const subject: Subject = {
  name: "calls-1",
  title: "calls, 1 in flight",
  quick: true,
  variants: ["raw", "confluo"],
  needs: "calls",
  needsBroker: true,
  columns: [
    { key: "perSecond", title: "msg/s", digits: 0, spread: true, yardstick: "raw" },
    { key: "p50Ms", title: "p50 ms", digits: 2 },
    { key: "brokerUs", title: "broker", digits: 1, unknown: "unknown" },
  ],
  expectSeconds: () => 1,
  measure: async () => ({}),
};

const results = [
  {
    subject,
    variant: "raw",
    rounds: [
      { perSecond: 1_900, p50Ms: 0.5 },
      { perSecond: 2_000, p50Ms: 0.4 },
      { perSecond: 2_100, p50Ms: 0.6 },
    ],
    failure: undefined,
  },
  {
    subject,
    variant: "confluo",
    rounds: [{ perSecond: 1_500, p50Ms: 0.62, brokerUs: 30 }],
    failure: undefined,
  },
  { subject, variant: "broken", rounds: [], failure: "it never answered" },
];

function report(): Report {
  return {
    startedAt: "2020-02-03T04:05:06.000Z",
    interrupted: false,
    machine: {
      cpu: "Some CPU",
      cores: 4,
      memoryGb: 16,
      os: "Linux 6.1 x64",
      node: "20.19.0",
      rabbitmq: "4.0.5",
      commit: "abcdef1",
    },
    settings: { rounds: 3, seconds: 2 },
    variants: {
      raw: { title: "raw amqplib", settings: "prefetch 128" },
      confluo: { title: "confluo", settings: "" },
    },
    sections: makeSections(results),
  };
}

describe("the table", () => {
  it("shows medians, spread, ratio, what is not known and why a variant failed", () => {
    expect(formatReport(report())).toBe(
      `
2020-02-03 · Some CPU, 4 cores · 16 GB · Linux 6.1 x64 · Node 20.19.0 · RabbitMQ 4.0.5 · confluo at abcdef1

medians of 3 rounds, 2 s each

**calls-1**: calls, 1 in flight

| variant |  msg/s | spread | of raw | p50 ms |  broker |
| ------- | -----: | -----: | -----: | -----: | ------: |
| raw     |  2,000 |   10 % |   1.00 |   0.50 | unknown |
| confluo |  1,500 |      – |   0.75 |   0.62 |    30.0 |
| broken  | failed |      – |      – |      – |       – |

broken failed: it never answered

- raw: raw amqplib (prefetch 128)
- confluo: confluo
`.trim(),
    );
  });

  it("has the variants beside each other where there are many figures", () => {
    const columns = Array.from({ length: 13 }, (_, n) => ({ key: `k${n}`, title: `figure ${n}`, digits: 0 }));
    const many = { ...subject, columns };
    const sections = makeSections([
      { subject: many, variant: "raw", rounds: [{ k0: 1, k12: 3 }], failure: undefined },
      { subject: many, variant: "confluo", rounds: [{ k0: 2 }], failure: undefined },
    ]);
    const text = formatReport({ ...report(), sections });
    expect(text).toContain(
      "| variant   | raw | confluo |\n| --------- | --: | ------: |\n| figure 0  |   1 |       2 |",
    );
    expect(text).toContain("| figure 12 |   3 |       – |");
  });

  it("has no ratio where the yardstick was not measured", () => {
    const sections = makeSections(results.slice(1));
    expect(formatReport({ ...report(), sections })).toContain("| confluo |  1,500 |      – |      – |");
  });

  it("says when the run was ended early", () => {
    expect(formatReport({ ...report(), interrupted: true })).toContain("ended early");
  });

  it("is as wide as its widest cell", () => {
    expect(
      formatTable([
        ["a", "b"],
        ["long", "1"],
      ]),
    ).toBe("| a    |   b |\n| ---- | --: |\n| long |   1 |");
  });
});
