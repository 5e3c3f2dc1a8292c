/** Options that commands share: the broker's address, the time limit and the form of the output. */

import { type Command, InvalidArgumentError } from "commander";
import { Broker, ConfluoError, type Logger, silentLogger } from "../index.ts";
import type { Terminal } from "./terminal.ts";

/** Adds a command to the program. */
export type CommandSetup = (program: Command, terminal: Terminal) => void;

/** The broker's address, its namespace and the files for TLS. */
export interface AddressFlags {
  readonly broker?: string;
  readonly namespace?: string;
  /** Paths of PEM files, for `amqps://`. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Options of every command that uses a broker. */
export interface BrokerFlags extends AddressFlags {
  /** In milliseconds. */
  readonly timeout?: number;
  readonly json?: true;
}

/** Adds the options of {@link AddressFlags}. */
export function withAddressFlags(command: Command): Command {
  return command
    .option(
      "-b, --broker <url>",
      "RabbitMQ's URL; several nodes of one cluster with commas between (CONFLUO_BROKER)",
    )
    .option(
      "-n, --namespace <name>",
      "prefix of all exchanges and queues (CONFLUO_NAMESPACE; default: confluo)",
    )
    .option("--ca <file>", "for amqps: certificates of the authorities to trust, in PEM (CONFLUO_CA)")
    .option(
      "--cert <file>",
      "for amqps: your own certificate, which also names the user if the URL does not (CONFLUO_CERT)",
    )
    .option("--key <file>", "for amqps: the key of that certificate (CONFLUO_KEY)");
}

/**
 * Copies the options to the environment variables, which each `Broker` and `Service` without explicit settings uses, in this
 * process and in those that it starts. A URL is passed to another process in this way, because it may contain a password, and
 * every user of the machine can see the arguments of a process.
 *
 * @throws `INVALID_ARGUMENT` if files for TLS are given with an address that does not use TLS.
 */
export function adopt(flags: AddressFlags, terminal: Terminal): void {
  const { broker, namespace, ca, cert, key } = flags;
  const address = addressOf(flags, terminal);
  if ([ca, cert, key].some((file) => file !== undefined) && address !== "" && !/\bamqps:/.test(address))
    throw new ConfluoError("INVALID_ARGUMENT", "--ca, --cert and --key need an amqps:// address.");
  const said = {
    CONFLUO_BROKER: broker,
    CONFLUO_NAMESPACE: namespace,
    CONFLUO_CA: ca,
    CONFLUO_CERT: cert,
    CONFLUO_KEY: key,
  };
  for (const [name, value] of Object.entries(said)) if (value !== undefined) process.env[name] = value;
}

/** Adds the options of {@link BrokerFlags}. `patience` is the default time limit, as a text for the help. */
export function withBrokerFlags(command: Command, patience = "20s"): Command {
  return withAddressFlags(command)
    .option(
      "-t, --timeout <duration>",
      `time limit, such as 500ms, 2s, 1m (default: ${patience})`,
      durationOf,
    )
    .option("--json", "print JSON, one value a line");
}

/** Returns the broker at the given address. It connects with its first request. */
export function brokerOf(flags: AddressFlags, terminal: Terminal): Broker {
  const address = addressOf(flags, terminal);
  if (address === "")
    throw new ConfluoError(
      "NO_BROKER_ADDRESS",
      "Which broker? Use --broker amqp://…, or set CONFLUO_BROKER. To start a temporary one: confluo broker.",
    );
  if (address === "memory:")
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      "The embedded broker (memory:) exists only inside its own process, and this is another one: name a RabbitMQ. confluo run --http shows the state of one process.",
    );
  adopt(flags, terminal);
  // A failure becomes the command's error. Log lines about reconnecting would only distract from it.
  return brokerAt(address, namespaceOf(flags, terminal), silentLogger);
}

/** Returns the address from the options, else from the environment; empty if there is none. */
export function addressOf({ broker }: AddressFlags, { env }: Terminal): string {
  return (broker ?? env.CONFLUO_BROKER ?? "").trim();
}

/** Returns the namespace from the options, else from the environment. */
export function namespaceOf({ namespace }: AddressFlags, { env }: Terminal): string | undefined {
  return namespace ?? env.CONFLUO_NAMESPACE;
}

/**
 * Returns the services in `CONFLUO_SERVICES`, separated by commas or spaces. They are looked for even if they do not answer.
 */
export function servicesToLookFor({ env }: Terminal): readonly string[] {
  return (env.CONFLUO_SERVICES ?? "").split(/[\s,]+/).filter((name) => name !== "");
}

/** Returns a hint about which stopped services a tool can see. `isKept` says whether the tool stores names for later. */
export function notSeen({ isKept }: { readonly isKept: boolean }): string {
  const before = isKept ? ", or seen from here before" : "";
  return `Services that are down are seen if named (here, CONFLUO_SERVICES), used by a running service${before}.`;
}

/** Makes a broker for an address, which may consist of several URLs separated by commas. */
export function brokerAt(address: string, namespace: string | undefined, logger?: Logger): Broker {
  const urls = address.split(",").map((url) => url.trim());
  return new Broker(urls.length === 1 ? (urls[0] as string) : urls, {
    ...(logger === undefined ? {} : { logger }),
    ...(namespace === undefined ? {} : { namespace }),
  });
}

/** Returns the limits of a request: the time limit of the options, and the terminal's signal. */
export function limitsOf(
  { timeout }: BrokerFlags,
  { signal }: Terminal,
): { readonly timeoutMs?: number; readonly signal: AbortSignal } {
  return timeout === undefined ? { signal } : { timeoutMs: timeout, signal };
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Parses `500ms`, `2s`, `1.5m` or `1h` to milliseconds. A unit is required, because without one many users would mean seconds.
 */
export function durationOf(text: string): number {
  const ms = msOf(text);
  if (ms >= 1 && ms <= 2_147_483_647) return Math.ceil(ms);
  throw new InvalidArgumentError("Expected a duration with its unit, such as 500ms, 2s or 1m.");
}

/** Parses a delay, such as `90s`, `2h` or `30d`, to milliseconds. It may be longer than a {@link durationOf}. */
export function delayOf(text: string): number {
  const ms = msOf(text);
  if (ms >= 0) return ms;
  throw new InvalidArgumentError("Expected a delay with its unit, such as 90s, 2h or 30d.");
}

// Returns NaN for any other text.
function msOf(text: string): number {
  const [, number = "", unit = "ms"] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  return number === "" ? Number.NaN : Number(number) * (units[unit] as number);
}

/** Parses a whole number of at least 1. */
export function countOf(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && Number.isSafeInteger(count)) return count;
  throw new InvalidArgumentError("Expected a whole number, 1 or more.");
}

/** Adds a `name=value` pair to those before it. */
export function pairOf(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("Expected name=value.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
