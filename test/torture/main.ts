/** `npm run torture`: the command line of the ledger. */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildRevision } from "../../scripts/revision.mjs";
import { inNetwork } from "./home.ts";
import { mutants } from "./mutant.ts";
import { type Stage, setStage } from "./stage.ts";
import { torture } from "./torture.ts";

const usage = `npm run torture -- [options]

  --minutes N        how long the faults go on, at most 60; default 10
  --broker URL,URL   a broker to use instead of one of its own; it is not restarted
  --rabbitmq4        a RabbitMQ 4 of its own, got as by npm run test:rabbitmq4
  --cluster          a cluster of its own of three nodes, whose nodes are killed and cut off; takes Linux, root and an
                     installed RabbitMQ
  --beside REVISION  the instances of the old version run the package as of that revision, beside this one's
  --seed N           repeats the faults of an earlier run
  --drain N          how many seconds to wait at the end for what is missing; default 300, with --mutant 15
  --keep FOLDER      keeps the ledgers and logs there
  --mutant WHAT      lets some of ${mutants.join(", ")} vanish, which the torture has to find: it then
                     ends with exit code 1
  --one-in N         how many of them: one in N; default 50, of letters 5`;

const code = await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  return 1;
});
// All is reported by now, and what a clean-up could not end must not keep this process.
process.exit(code);

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "10" },
      broker: { type: "string" },
      rabbitmq4: { type: "boolean", default: false },
      cluster: { type: "boolean", default: false },
      beside: { type: "string" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
      drain: { type: "string" },
      keep: { type: "string" },
      mutant: { type: "string" },
      "one-in": { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const mutant = mutants.find((name) => name === values.mutant);
  if (values.mutant !== undefined && mutant === undefined)
    throw new Error(`--mutant takes one of ${mutants.join(", ")}.\n\n${usage}`);
  // A dead-lettering that was under way when a broker was killed is repeated only after 180 s.
  const drainSeconds = readNumber("--drain", values.drain ?? (mutant === undefined ? "300" : "15"), 3_600);
  const minutes = readNumber("--minutes", values.minutes, 60);
  const oneIn = readNumber("--one-in", values["one-in"] ?? (mutant === "letters" ? "5" : "50"), 1_000_000);
  const seed = Number(values.seed);
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error(`--seed takes a whole number.\n\n${usage}`);
  if (values.broker?.includes("amqps:"))
    throw new Error("--broker takes amqp:// URLs: the proxies do not speak TLS.");
  if ([values.broker !== undefined, values.rabbitmq4, values.cluster].filter(Boolean).length > 1)
    throw new Error(`--broker, --rabbitmq4 and --cluster each bring a broker: give one of them.\n\n${usage}`);
  if (values.cluster) {
    const code = await inNetwork([...process.argv.slice(2), "--seed", values.seed]);
    if (code !== undefined) return code;
  }

  const signal = endOnSignals();
  const beside = values.beside === undefined ? undefined : await buildRevision(values.beside);
  let stage: Stage | undefined;
  try {
    stage = await setStage(values);
    console.log(`Broker: ${stage.description}`);
    console.log(`Seed: ${seed}, for ${minutes} min`);
    // Where the support of the tests looks for it.
    process.env.CONFLUO_TEST_BROKER_URL = stage.brokerUrls[0];
    const { problems } = await torture({
      brokerUrls: stage.brokerUrls,
      brokerFaults: stage.brokerFaults,
      forMs: minutes * 60_000,
      seed,
      rate: 280,
      faultEveryMs: 2_500,
      poisonEveryMs: 10_000,
      drainMs: drainSeconds * 1_000,
      beside: beside && join(beside.folder, "dist", "index.js"),
      mutation: mutant && { mutant, oneIn },
      keep: values.keep,
      log: console.log,
      signal,
    });
    return problems === 0 ? 0 : 1;
  } finally {
    await stage?.stop();
    await beside?.remove();
  }
}

function readNumber(option: string, given: string, most: number): number {
  const number = Number(given);
  if (number > 0 && number <= most) return number;
  throw new Error(`${option} takes more than 0 and at most ${most}.\n\n${usage}`);
}

function endOnSignals(): AbortSignal {
  const ended = new AbortController();
  let endedAt = 0;
  const end = (): void => {
    // Ctrl-C in a terminal comes twice: from the terminal, and handed on by the script.
    if (endedAt > 0 && performance.now() - endedAt > 1_000) process.exit(130);
    if (endedAt > 0) return;
    endedAt = performance.now();
    console.log("Ending early; once more ends without the report.");
    ended.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, end);
  return ended.signal;
}
