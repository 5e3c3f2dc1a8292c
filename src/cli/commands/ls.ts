/** `confluo ls`: who is there, and how it goes. */

import { type BrokerFlags, brokerOf, type CommandSetup, limitsOf, withBrokerFlags } from "../context.ts";
import { forHumans, linesOf, rateForHumans, type ServiceLine, type Snapshot } from "../fleet.ts";
import { type Column, cut, tableOf } from "../table.ts";
import { jsonOf, type Paint, paintOf, type Terminal, writeJson, writeLine } from "../terminal.ts";
import { watch } from "../watch.ts";

interface Flags extends BrokerFlags {
  readonly watch?: true;
}

export const lsCommand: CommandSetup = (program, terminal) => {
  withBrokerFlags(
    program
      .command("ls")
      .description("list the services that are there: instances, rates, latencies, errors, what waits")
      .option("-w, --watch", "again every two seconds, until Ctrl-C"),
  ).action(async (flags: Flags) => {
    const broker = brokerOf(flags, terminal);
    let before: Snapshot | undefined;
    const look = async (): Promise<readonly ServiceLine[]> => {
      const now = { stats: await broker.stats(limitsOf(flags, terminal)), at: performance.now() };
      const lines = linesOf(now, before);
      before = now;
      return lines;
    };
    if (flags.watch) {
      const draw = async (): Promise<readonly string[]> => {
        const lines = await look();
        return flags.json ? [jsonOf(lines)] : tableOfServices(lines, terminal);
      };
      await watch(terminal, draw);
      return;
    }
    const lines = await look();
    if (flags.json) writeJson(terminal, lines);
    else for (const line of tableOfServices(lines, terminal)) writeLine(terminal.stdout, line);
  });
};

const columns: readonly Column[] = [
  { title: "SERVICE" },
  { title: "INSTANCES", align: "right" },
  { title: "HEALTH" },
  { title: "RATE", align: "right" },
  { title: "P50", align: "right" },
  { title: "P99", align: "right" },
  { title: "IN FLIGHT", align: "right" },
  { title: "WAITING", align: "right" },
  { title: "REFUSED", align: "right" },
  { title: "FAILED", align: "right" },
  { title: "DEAD", align: "right" },
  { title: "LAST ERROR" },
];

function tableOfServices(lines: readonly ServiceLine[], terminal: Terminal): readonly string[] {
  if (lines.length === 0) return ["No service answers at this broker and namespace."];
  const paint = paintOf(terminal);
  const bad = (count: number | undefined): string =>
    count === undefined ? "–" : count === 0 ? "0" : paint.bad(String(count));
  const rows = lines.map((line) => [
    paint.strong(line.service),
    String(line.instances),
    healthOf(line.health, paint),
    rateForHumans(line.perSecond),
    forHumans(line.p50Ms),
    forHumans(line.p99Ms),
    String(line.inFlight),
    line.waiting === undefined ? "–" : String(line.waiting),
    String(line.refused),
    bad(line.failed),
    bad(line.dead),
    line.lastError === undefined
      ? ""
      : paint.faint(cut(`${line.lastError.code}: ${line.lastError.message}`, 60)),
  ]);
  return tableOf(columns, rows);
}

/** In its colour. */
export function healthOf(health: string, paint: Paint): string {
  if (health === "healthy") return paint.good(health);
  return health.startsWith("degraded") ? paint.doubtful(health) : paint.bad(health);
}
