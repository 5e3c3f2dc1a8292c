/** Options that all commands have in common: which broker, how long, in which form. */

import { type Command, InvalidArgumentError } from "commander";
import { Broker, ConfluoError, type Logger, silentLogger } from "../index.ts";
import type { Terminal } from "./terminal.ts";

/** Adds a command to the program. */
export type CommandSetup = (program: Command, terminal: Terminal) => void;

/** Which broker, and what of it. */
export interface AddressFlags {
  readonly broker?: string;
  readonly namespace?: string;
  /** Names of files, for `amqps://`. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Options of every command that asks a broker. */
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
 * Has this process, and what it starts, take the options for what the environment says: a `Broker` and a `Service` go by that
 * where they are told nothing else. It is also how a URL, which may hold a password, gets to another process: arguments can be
 * seen by everyone on the machine.
 *
 * @throws `INVALID_ARGUMENT` for files of TLS beside an address without it.
 */
export function adopt(flags: AddressFlags, terminal: Terminal): void {
  const { broker, namespace, ca, cert, key } = flags;
  const address = addressOf(flags, terminal);
  if ([ca, cert, key].some((file) => file !== undefined) && address !== "" && !/\bamqps:/.test(address))
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      "--ca, --cert and --key are for amqps://, and the address is none.",
    );
  const said = {
    CONFLUO_BROKER: broker,
    CONFLUO_NAMESPACE: namespace,
    CONFLUO_CA: ca,
    CONFLUO_CERT: cert,
    CONFLUO_KEY: key,
  };
  for (const [name, value] of Object.entries(said)) if (value !== undefined) process.env[name] = value;
}

/** Adds the options of {@link BrokerFlags}. `patience` is how long it may take unless told otherwise, in words. */
export function withBrokerFlags(command: Command, patience = "20s"): Command {
  return withAddressFlags(command)
    .option(
      "-t, --timeout <duration>",
      `time limit, such as 500ms, 2s, 1m (default: ${patience})`,
      durationOf,
    )
    .option("--json", "print JSON, one value a line");
}

/** The broker that is meant. It connects when it is asked something. */
export function brokerOf(flags: AddressFlags, terminal: Terminal): Broker {
  const address = addressOf(flags, terminal);
  if (address === "")
    throw new ConfluoError(
      "NO_BROKER_ADDRESS",
      "Which broker? Say --broker amqp://…, or set CONFLUO_BROKER. To start one for trying things out: confluo broker.",
    );
  if (address === "memory:")
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      "The embedded broker, memory:, is within one process, and this is another: name a RabbitMQ. confluo run --http shows one process from outside.",
    );
  adopt(flags, terminal);
  // A failure is the command's error; lines about trying again would be noise beside it.
  return brokerAt(address, namespaceOf(flags, terminal), silentLogger);
}

/** The address that the options mean, else the environment; empty if neither does. */
export function addressOf({ broker }: AddressFlags, { env }: Terminal): string {
  return (broker ?? env.CONFLUO_BROKER ?? "").trim();
}

/** As {@link addressOf}. */
export function namespaceOf({ namespace }: AddressFlags, { env }: Terminal): string | undefined {
  return namespace ?? env.CONFLUO_NAMESPACE;
}

/** Services to look for, whether they answer or not: those that the environment names, with commas or spaces between. */
export function servicesToLookFor({ env }: Terminal): readonly string[] {
  return (env.CONFLUO_SERVICES ?? "").split(/[\s,]+/).filter((name) => name !== "");
}

/** Says which services that are down a tool sees. `isKept` tells whether it keeps names for later. */
export function notSeen({ isKept }: { readonly isKept: boolean }): string {
  const used = "if one that answers calls them, sends to them or heard from them";
  const ways = isKept ? `${used},\nor if they were seen from here before` : `or ${used}`;
  return `Services that are down are seen if they are named, here or in CONFLUO_SERVICES,\n${ways}.`;
}

/** A broker at an address, which may be several with commas between. */
export function brokerAt(address: string, namespace: string | undefined, logger?: Logger): Broker {
  const urls = address.split(",").map((url) => url.trim());
  return new Broker(urls.length === 1 ? (urls[0] as string) : urls, {
    ...(logger === undefined ? {} : { logger }),
    ...(namespace === undefined ? {} : { namespace }),
  });
}

/** Limits of what is asked: the option's, and Ctrl-C. */
export function limitsOf(
  { timeout }: BrokerFlags,
  { signal }: Terminal,
): { readonly timeoutMs?: number; readonly signal: AbortSignal } {
  return timeout === undefined ? { signal } : { timeoutMs: timeout, signal };
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `500ms`, `2s`, `1.5m` or `1h`, as milliseconds. Without a unit, half of the people would mean seconds. */
export function durationOf(text: string): number {
  const [, number = "", unit = "ms"] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text.trim()) ?? [];
  const ms = number === "" ? Number.NaN : Number(number) * (units[unit] as number);
  if (ms >= 1 && ms <= 2_147_483_647) return Math.ceil(ms);
  throw new InvalidArgumentError("Expected a duration with its unit, such as 500ms, 2s or 1m.");
}

/** A whole number of at least 1. */
export function countOf(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && Number.isSafeInteger(count)) return count;
  throw new InvalidArgumentError("Expected a whole number, 1 or more.");
}

/** `name=value` pairs, given once or often. */
export function pairOf(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("Expected name=value.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
