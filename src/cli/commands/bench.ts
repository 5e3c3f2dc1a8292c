/** `confluo bench`: measures the speed of calls and events between this process and a broker. */

import { randomBytes } from "node:crypto";
import { quantile, Service, silentLogger } from "../../index.ts";
import {
  type BrokerFlags,
  brokerOf,
  type CommandSetup,
  countOf,
  durationOf,
  limitsOf,
  withBrokerFlags,
} from "../broker-flags.ts";
import { forHumans, rateForHumans } from "../services/service-table.ts";
import { tableOf } from "../table.ts";
import { type Terminal, writeJson, writeLine } from "../terminal.ts";

interface BenchFlags extends BrokerFlags {
  readonly inFlight?: number;
  /** In milliseconds. */
  readonly for?: number;
  readonly bytes?: number;
}

interface Result {
  readonly what: string;
  readonly perSecond: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly count: number;
}

export const benchCommand: CommandSetup = (program, terminal) => {
  withBrokerFlags(
    program
      .command("bench")
      .description(
        "put load on the broker for a few seconds, with a service of its own, and report how fast it was; caller and handler are in this process",
      )
      .option("-i, --in-flight <number>", "number of messages in flight (default: 64)", countOf)
      .option("-f, --for <duration>", "duration of each measurement (default: 3s)", durationOf)
      .option("-s, --bytes <number>", "size of a body in bytes (default: 200)", countOf),
  ).action(async (flags: BenchFlags) => {
    const name = `confluo-bench-${randomBytes(4).toString("hex")}`;
    const broker = brokerOf(flags, terminal);
    const own = new Service(name, { broker, discovery: false, logger: silentLogger });
    own.route("/call", ({ body }) => body);
    // Copies for this instance only, so that no durable message remains.
    own.subscribe(`/${name}`, () => undefined, { per: "instance" });
    await own.connect(undefined, limitsOf(flags, terminal));
    try {
      const text = "x".repeat(flags.bytes ?? 200);
      const results = [
        await load("calls", flags, terminal, () => own.call(name, "/call", text)),
        await load("events, confirmed", flags, terminal, () => own.publish(`/${name}`, text)),
      ];
      if (flags.json) for (const result of results) writeJson(terminal, result);
      else for (const line of tableOf(columns, results.map(rowOf))) writeLine(terminal.stdout, line);
    } finally {
      await own.shutdown();
      await removeQueues(broker, name);
    }
  });
};

const columns = [
  { title: "WHAT" },
  { title: "RATE", align: "right" },
  { title: "P50", align: "right" },
  { title: "P99", align: "right" },
] as const;

function rowOf({ what, perSecond, p50Ms, p99Ms }: Result): readonly string[] {
  return [what, rateForHumans(perSecond), forHumans(p50Ms), forHumans(p99Ms)];
}

async function load(
  what: string,
  { inFlight = 64, for: ms = 3_000 }: BenchFlags,
  { stderr, signal }: Terminal,
  one: () => Promise<unknown>,
): Promise<Result> {
  const counts = new Map<number, number>();
  let count = 0;
  const began = performance.now();
  const progress = setInterval(() => {
    if (stderr.isTTY)
      stderr.write(`\r${what}: ${count.toLocaleString("en")} in ${forHumans(performance.now() - began)}`);
  }, 200);
  const worker = async (): Promise<void> => {
    while (!signal.aborted && performance.now() - began < ms) {
      const at = performance.now();
      await one();
      // Rounds up to tenths of a millisecond.
      const took = Math.ceil((performance.now() - at) * 10) / 10;
      counts.set(took, (counts.get(took) ?? 0) + 1);
      count += 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: inFlight }, worker));
  } finally {
    clearInterval(progress);
    if (stderr.isTTY) stderr.write("\r\u001b[K");
  }
  const durations = [...counts].sort(([a], [b]) => a - b);
  const perSecond = (count / (performance.now() - began)) * 1_000;
  return { what, perSecond, p50Ms: quantile(durations, 0.5), p99Ms: quantile(durations, 0.99), count };
}

async function removeQueues(broker: ReturnType<typeof brokerOf>, name: string): Promise<void> {
  // Also runs after Ctrl-C, so without the signal but with a short time limit.
  const client = await broker.openClient({ timeoutMs: 5_000 });
  try {
    for (const queue of ["calls", "calls.again", "calls.batch", "inbox", "inbox.again", "dead"])
      await client.deleteQueue(`${broker.namespace}.${name}.${queue}`);
  } finally {
    await client.close();
  }
}
