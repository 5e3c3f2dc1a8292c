/** The command line. */

import { resolve } from "node:path";
import { type ParseArgsConfig, parseArgs } from "node:util";

export const usage = `npm run bench -- [options]

  --only PATTERN     CASE, CASE/VARIANT or VARIANT; names with commas between and * for anything:
                     calls-64/confluo,raw  calls-*  */confluo; may be given several times
  --quick            once and shortly, the few cases that say most; under two minutes
  --compare REVISION measures two builds of confluo instead, that of a commit, tag or branch and the working
                     tree's, in pairs, and prints their ratios with 95 % intervals; without --only: calls-1,
                     calls-64, calls-512 and events-1 with confluo; --only can name confluo-single, too
  --pairs N          how many pairs of each case, from 2 to 100; default 10, quick 4; only with --compare
  --node PATH,…      runs what is measured on each of these Nodes, in turns; ratios are to raw on the first of them
  --rounds N         how often each is measured, at most 100; default 3, quick 1
  --seconds S        how long each time, at most 600; default 2, quick 0.8
  --broker URL       a broker to use instead of one of its own; its CPU is unknown then
  --rabbitmq4        a RabbitMQ 4 of its own, got as by npm run test:rabbitmq4
  --json             prints the results as JSON instead of tables; with npm run --silent, nothing else is on stdout
  --save             writes bench/results/<date>-<RabbitMQ's version>.json, and docs/benchmark.svg if all
                     of its cases were measured; default for a full run, --no-save prevents it; for a
                     comparison, which is saved only on demand, <date>-<RabbitMQ's version>-compare-<commit>.json
  --cpu-prof FOLDER  writes a CPU profile of each measured program, into a folder for each variant
  --list             lists the cases and their variants
  --help             prints this`;

export interface Options {
  readonly only: readonly string[];
  readonly quick: boolean;
  /** A revision whose build is compared with the working tree's. */
  readonly compare: string | undefined;
  readonly pairs: number;
  /** Paths of Nodes that run what is measured; none: the one that runs this. */
  readonly nodes: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  /** A URL; otherwise a broker is started. */
  readonly broker: string | undefined;
  readonly rabbitmq4: boolean;
  readonly json: boolean;
  readonly save: boolean;
  readonly profileFolder: string | undefined;
}

const MOST_ROUNDS = 100;
/** Of fewer there is no interval. */
const LEAST_PAIRS = 2;
const MOST_PAIRS = 100;
const MOST_SECONDS = 600;

const config = {
  only: { type: "string", multiple: true, default: [] },
  quick: { type: "boolean", default: false },
  compare: { type: "string" },
  pairs: { type: "string" },
  node: { type: "string", multiple: true, default: [] },
  rounds: { type: "string" },
  seconds: { type: "string" },
  broker: { type: "string" },
  rabbitmq4: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  save: { type: "boolean" },
  "no-save": { type: "boolean", default: false },
  "cpu-prof": { type: "string" },
  list: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const satisfies ParseArgsConfig["options"];

/**
 * @param folder What a relative path is relative to.
 * @throws with a message for people.
 */
export function parseOptions(args: readonly string[], folder: string): Options | "help" | "list" {
  const values = parse(args);
  if (values.help) return "help";
  if (values.list) return "list";
  const { quick, only, compare, broker, rabbitmq4, json } = values;
  if (only.some((pattern) => pattern.trim() === ""))
    throw wrong("only", "", "the name of a case or a variant");
  if (broker !== undefined && !isBrokerUrl(broker))
    throw wrong("broker", broker, "an amqp:// or amqps:// URL");
  if (broker !== undefined && rabbitmq4)
    throw refusal("--rabbitmq4 starts a broker of its own, and --broker names one: give one of the two.");
  if (values.save && values["no-save"]) throw refusal("--save and --no-save: give one of the two.");
  if (compare?.trim() === "") throw wrong("compare", compare, "a commit, a tag or a branch");
  if (compare === undefined && values.pairs !== undefined)
    throw refusal("--pairs is of a comparison: give --compare, too, or --rounds instead.");
  if (compare !== undefined && values.rounds !== undefined)
    throw refusal("--rounds is not of a comparison: give --pairs instead.");
  const nodes = values.node.flatMap((list) => list.split(",")).map((path) => path.trim());
  if (nodes.includes("")) throw wrong("node", values.node.join(","), "paths of Nodes, with commas between");
  if (compare !== undefined && nodes.length > 0)
    throw refusal(
      "--compare measures both builds on the Node that runs it: start that one instead of --node.",
    );
  const pairs = Number(values.pairs ?? (quick ? 4 : 10));
  if (!Number.isInteger(pairs) || pairs < LEAST_PAIRS || pairs > MOST_PAIRS)
    throw wrong("pairs", values.pairs, `a whole number from ${LEAST_PAIRS} to ${MOST_PAIRS}`);
  if (values["cpu-prof"] === "") throw wrong("cpu-prof", "", "a folder");
  const rounds = Number(values.rounds ?? (quick ? 1 : 3));
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > MOST_ROUNDS)
    throw wrong("rounds", values.rounds, `a whole number from 1 to ${MOST_ROUNDS}`);
  const seconds = Number(values.seconds ?? (quick ? 0.8 : 2));
  if (!(seconds > 0 && seconds <= MOST_SECONDS))
    throw wrong("seconds", values.seconds, `more than 0 and at most ${MOST_SECONDS}`);
  return {
    only,
    quick,
    compare,
    pairs,
    // A name without a folder is looked up in PATH.
    nodes: nodes.map((path) => (path.includes("/") ? resolve(folder, path) : path)),
    rounds,
    seconds,
    broker,
    rabbitmq4,
    json,
    save: !values["no-save"] && (values.save ?? (!quick && only.length === 0 && compare === undefined)),
    profileFolder: values["cpu-prof"] === undefined ? undefined : resolve(folder, values["cpu-prof"]),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: config }).values;
  } catch (error) {
    // Node's further sentences are about how to pass arguments that look like options.
    const [sentence] = (error instanceof Error ? error.message : String(error)).split(/(?<=')\. |\n/);
    throw refusal(`${sentence?.replace(/\.?$/, ".")}`);
  }
}

function isBrokerUrl(text: string): boolean {
  return URL.canParse(text) && /^amqps?:$/.test(new URL(text).protocol);
}

function wrong(option: string, given: string | undefined, expected: string): Error {
  return refusal(`--${option} takes ${expected}; ${JSON.stringify(given)} was given.`);
}

function refusal(message: string): Error {
  return new Error(`${message}\n--help lists the options, --list the cases and variants.`);
}
