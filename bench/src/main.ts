/** `npm run bench`. */
import { parseArgs } from "node:util";
import { startTestBroker } from "../../scripts/test-broker.mjs";
import { cases } from "./case.ts";
import { type Measured, measure } from "./measure.ts";
import { median, spread } from "./statistics.ts";
import { variants } from "./variants/index.ts";

const { values } = parseArgs({
  options: {
    broker: { type: "string" },
    only: { type: "string", multiple: true },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "2" },
    "cpu-prof": { type: "string" },
  },
});
const broker = values.broker === undefined ? await startTestBroker() : undefined;
const pid = process.env.BROKER_PID ? Number(process.env.BROKER_PID) : undefined;
const only = values.only ?? [];
const wanted = (kind: string, name: string) =>
  only.length === 0 ||
  only.some((o) => {
    const part = o.split("/")[kind === "case" ? 0 : 1];
    return part === undefined || part === "*" || part.split(",").includes(name);
  });
for (const c of cases.filter((c) => wanted("case", c.name))) {
  const names = Object.keys(variants).filter((n) => wanted("variant", n));
  const results = new Map<string, Measured[]>();
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const name of round % 2 ? [...names].reverse() : names) {
      const m = await measure(name, c, {
        broker: values.broker ?? broker!.url,
        brokerPid: pid,
        seconds: Number(values.seconds),
        execArgv: values["cpu-prof"] ? ["--cpu-prof", `--cpu-prof-dir=${values["cpu-prof"]}/${name}`] : [],
      });
      results.set(name, [...(results.get(name) ?? []), m]);
    }
  }
  for (const [name, ms] of results) {
    const rate = ms.map((m) => m.perSecond);
    const f = (g: (m: Measured) => number | undefined) => median(ms.map((m) => g(m) ?? NaN)).toFixed(2);
    console.log(
      c.name.padEnd(14),
      name.padEnd(12),
      Math.round(median(rate)).toString().padStart(8),
      (spread(rate) * 100).toFixed(0) + "%",
      "p50",
      f((m) => m.latency?.p50),
      "p99",
      f((m) => m.latency?.p99),
      "cpu",
      f((m) => m.cpu.requester),
      f((m) => m.cpu.handlers),
      f((m) => m.cpu.broker),
    );
  }
}
await broker?.stop();
