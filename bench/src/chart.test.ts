import { describe, expect, it } from "vitest";
import { chartCases, drawChart, isChartable } from "./chart.ts";
import type { Report, Row } from "./report.ts";

function report(rows: readonly Row[], names = chartCases): Report {
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
      commit: undefined,
    },
    settings: { rounds: 2, seconds: 2 },
    variants: { raw: { title: "raw <amqplib> & co", settings: "" } },
    sections: names.map((name) => ({ name, title: `all about ${name}`, columns: [], rows })),
  };
}

const raw = {
  variant: "raw",
  medians: { perSecond: 1_000 },
  rounds: [{ perSecond: 900 }, { perSecond: 1_100 }],
};
const confluo = { variant: "confluo", medians: { perSecond: 550 }, rounds: [{ perSecond: 550 }] };

describe("the chart", () => {
  it("has a title, units, the groups, the machine and the date, on a ground of its own", () => {
    const svg = drawChart(report([raw, confluo]));
    expect(svg).toContain("Messages per second");
    for (const name of chartCases) expect(svg).toContain(`all about ${name}`);
    expect(svg).toContain("2020-02-03: medians of 2 rounds of 2 s");
    expect(svg).toContain("Some CPU, 4 cores · 16 GB · Linux 6.1 x64 · Node 20.19.0 · RabbitMQ 4.0.5");
    expect(svg).toMatch(/<rect [^>]*rx="10" fill="#ffffff"/);
  });

  it("draws bars in proportion, as long as the greatest round allows", () => {
    const widths = [...drawChart(report([raw, confluo])).matchAll(/ width="([\d.]+)" height="14"/g)];
    expect(widths.slice(0, 2).map(([, width]) => Number(width))).toEqual([454.5, 250]);
  });

  it("is well-formed whatever a variant is called", () => {
    const svg = drawChart(report([raw]));
    expect(svg).toContain("raw &lt;amqplib&gt; &amp; co");
    expect(svg).not.toContain("<amqplib>");
  });

  it("says which variant failed", () => {
    expect(drawChart(report([{ variant: "raw", medians: {}, rounds: [], failure: "no" }]))).toContain(
      ">failed<",
    );
  });

  it("needs all of its cases", () => {
    expect(isChartable(report([raw]))).toBe(true);
    expect(isChartable(report([raw], ["calls-1", "events-1"]))).toBe(false);
  });
});
