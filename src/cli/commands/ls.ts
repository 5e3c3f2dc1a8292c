/** `confluo ls`: lists services with their health and figures. */

import { ConfluoError, type Overview } from "../../index.ts";
import {
  type BrokerFlags,
  brokerOf,
  type CommandSetup,
  limitsOf,
  notSeen,
  servicesToLookFor,
  withBrokerFlags,
} from "../broker-flags.ts";
import {
  delayedForHumans,
  forHumans,
  linesOf,
  OVER,
  rateForHumans,
  type ServiceLine,
  untilForHumans,
} from "../services/service-table.ts";
import { knownServicesAt } from "../state/kept-names.ts";
import { type Column, fittedTable } from "../table.ts";
import { jsonOf, type Paint, paintOf, type Terminal, writeJson, writeLine } from "../terminal.ts";
import { watch } from "../watch.ts";

interface LsFlags extends BrokerFlags {
  readonly watch?: true;
}

/** The overview, and the lines to print. */
interface SeenServices {
  /** The broker and the namespace, for people. */
  readonly place: string;
  readonly overview: Overview;
  readonly lines: readonly ServiceLine[];
  /** True if the names of the services are stored for later commands. */
  readonly isKept: boolean;
}

export const lsCommand: CommandSetup = (program, terminal) => {
  withBrokerFlags(
    program
      .command("ls [services...]")
      .description(
        "list services: instances, rates, latencies, errors, waiting messages. Services that are down are listed if their names are known: from services that call them, send to them or receive from them, from arguments or CONFLUO_SERVICES, or from earlier commands here",
      )
      .option("-w, --watch", "repeat every two seconds, until Ctrl-C"),
  ).action(async (named: string[], flags: LsFlags) => {
    const broker = brokerOf(flags, terminal);
    const known = knownServicesAt(broker, terminal);
    const services = [...servicesToLookFor(terminal), ...named];
    const place = `${broker.description}, namespace ${broker.namespace}`;
    const look = async (): Promise<SeenServices> => {
      const overview = await known.look(broker, { services, ...limitsOf(flags, terminal) });
      const lines = linesOf(overview);
      return {
        place,
        overview,
        isKept: known.isKept,
        lines: named.length === 0 ? lines : lines.filter(({ service }) => named.includes(service)),
      };
    };
    if (flags.watch) {
      const draw = async (): Promise<readonly string[]> => {
        const seen = await look();
        return flags.json ? [jsonOf(seen.lines)] : linesOfServices(seen, named, terminal);
      };
      await watch(terminal, draw);
      return;
    }
    const seen = await look();
    if (flags.json) writeJson(terminal, seen.lines);
    else for (const line of linesOfServices(seen, named, terminal)) writeLine(terminal.stdout, line);
    const missing = seen.overview.missing.filter((name) => named.includes(name));
    if (missing.length > 0)
      throw new ConfluoError(
        "NO_SUCH_SERVICE",
        `There is neither an instance nor a queue of ${missing.join(", ")}.`,
      );
  });
};

const columns: readonly Column[] = [
  { title: "SERVICE" },
  { title: "INSTANCES", align: "right" },
  { title: "HEALTH" },
  { title: "RATE", align: "right" },
  { title: "P50", align: "right", spare: 4 },
  { title: "P99", align: "right", spare: 1 },
  { title: "IN FLIGHT", align: "right", spare: 3 },
  { title: "WAITING", align: "right" },
  { title: "RETRY", align: "right" },
  { title: "DELAYED", align: "right" },
  { title: "REFUSED", align: "right", spare: 5 },
  { title: "FAILED", align: "right" },
  { title: "DEAD", align: "right" },
  { title: "LAST ERROR" },
];

function linesOfServices(
  { place, overview, lines, isKept }: SeenServices,
  named: readonly string[],
  terminal: Terminal,
): readonly string[] {
  const paint = paintOf(terminal);
  const others = named.length === 0 ? [paint.faint(notSeen({ isKept }))] : [];
  if (lines.length === 0) return [`No service answers at ${place}.`, ...others];
  const { lines: table, leftOut } = tableOfServices(lines, terminal);
  const over = `${place}. RATE, P50 and P99 are ${OVER}, counts since the instances started.`;
  const without = leftOut.length === 0 ? [] : [paint.faint(`No room for ${leftOut.join(", ")}.`)];
  const delayed = delayedForHumans(overview);
  return [
    paint.faint(over),
    ...without,
    ...table,
    ...(delayed === undefined ? [] : [paint.doubtful(`RETRY: ${delayed}`)]),
    ...others,
  ];
}

function tableOfServices(lines: readonly ServiceLine[], terminal: Terminal): ReturnType<typeof fittedTable> {
  const paint = paintOf(terminal);
  const count = (of: number | undefined): string => (of === undefined ? "–" : String(of));
  const bad = (of: number | undefined): string => (of ? paint.bad(count(of)) : count(of));
  const rows = lines.map((line) => [
    paint.strong(line.service),
    String(line.instances),
    healthOf(line.health, paint),
    rateForHumans(line.perSecond),
    forHumans(line.p50Ms),
    forHumans(line.p99Ms),
    count(line.inFlight),
    isUnknown(line, (queue) => queue !== "dead") ? "?" : count(line.waiting),
    line.toRetry ? paint.doubtful(count(line.toRetry)) : count(line.toRetry),
    untilForHumans(line.delayed),
    count(line.refused),
    bad(line.failed),
    isUnknown(line, (queue) => queue === "dead") ? "?" : bad(line.dead),
    line.lastError === undefined ? "" : `${line.lastError.code}: ${line.lastError.message}`,
  ]);
  const painted = columns.map((column, at) =>
    at === columns.length - 1 ? { ...column, paint: paint.faint } : column,
  );
  // Most of the time there is nothing to say in that column.
  const hasDelays = lines.some(({ delayed }) => delayed !== undefined);
  const isShown = (_: unknown, at: number): boolean => hasDelays || columns[at]?.title !== "DELAYED";
  return fittedTable(
    painted.filter(isShown),
    rows.map((row) => row.filter(isShown)),
    terminal.stdout.columns,
  );
}

// The length of a queue that may not be inspected is unknown, not zero.
function isUnknown({ unknownQueues = [] }: ServiceLine, isMeant: (queue: string) => boolean): boolean {
  return unknownQueues.some(isMeant);
}

/** Colours a health. */
export function healthOf(health: string, paint: Paint): string {
  if (health === "healthy") return paint.good(health);
  return /^(degraded|silent|unknown)/.test(health) ? paint.doubtful(health) : paint.bad(health);
}
