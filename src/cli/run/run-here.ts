/** `confluo run` in one process: connects the services, and shuts them down at the end. */

import { type Broker, ConfluoError, consoleLogger, type Service } from "../../index.ts";
import { addressOf, brokerAt, namespaceOf } from "../broker-flags.ts";
import { type Terminal, untilEnded } from "../terminal.ts";
import { servicesIn } from "./exported-services.ts";
import type { RunFlags } from "./run-flags.ts";

/** The longest delay of a timer, 24 days. */
const LONGEST_MS = 2_147_483_647;
const REMIND_MS = 30_000;

/** A message from a child process to the process that started it. */
export interface ToldProcess {
  readonly confluo: { readonly http: string };
}

/** Runs the services of some modules until the terminal's signal aborts. */
export async function runHere(files: readonly string[], flags: RunFlags, terminal: Terminal): Promise<void> {
  const services = await servicesIn(files, flags.export);
  const brokerOf = brokersFor(services, flags, terminal);
  const http = flags.http === undefined ? undefined : await listen(flags.http, services);
  if (http !== undefined && process.connected)
    process.send?.({ confluo: { http: http.url } } satisfies ToldProcess);
  try {
    if (!(await connected(services, brokerOf, { flags, terminal }))) return;
    const at = placesOf(services);
    const url = http === undefined ? "" : `, ${http.url}`;
    consoleLogger.info({ services: services.map(({ name }) => name) }, `${at}${url}.`);
    await untilEnded(terminal);
  } finally {
    const limits = flags.drain === undefined ? {} : { timeoutMs: flags.drain };
    await Promise.all(services.map((service) => service.shutdown(limits)));
    await http?.close();
  }
}

/** @throws `INVALID_ARGUMENT` for a text that is not a valid address. */
export function listenAddress(address: string): { readonly port: number; readonly host?: string } {
  const [, host = "", port = ""] = /^(?:(.*):)?(\d+)$/.exec(address) ?? [];
  if (port === "")
    throw new ConfluoError("INVALID_ARGUMENT", `--http must be :port or host:port, got ${address}.`);
  return { port: Number(port), ...(host === "" ? {} : { host: host.replace(/^\[(.*)\]$/, "$1") }) };
}

type BrokerFor = (service: Service) => Broker | string | undefined;

// A broker named by the option is used for all services. Otherwise a service's own broker has priority, as in a program.
function brokersFor(services: readonly Service[], flags: RunFlags, terminal: Terminal): BrokerFor {
  const hasOwn = (service: Service): boolean => flags.isForAll !== true && service.broker !== undefined;
  if (services.every(hasOwn)) return () => undefined;
  const address = addressOf(flags, terminal) || embeddedUnlessProduction(terminal);
  if (address === "memory:" && flags.embedded === false) throw noMeeting();
  // Services without a broker of their own share one broker, so that they meet and share its connections.
  const shared = address === "memory:" ? address : brokerAt(address, namespaceOf(flags, terminal));
  return (service) => (hasOwn(service) ? undefined : shared);
}

/** Makes the error for several processes without a shared broker. */
export function noMeeting(): ConfluoError {
  return new ConfluoError(
    "NO_BROKER_ADDRESS",
    "Several processes cannot share the embedded broker: use --broker, or set CONFLUO_BROKER.",
  );
}

// The same rule as in a service: if the address is forgotten in production, services on an embedded broker would look healthy
// but reach no other process.
function embeddedUnlessProduction({ env }: Terminal): string {
  if (env.NODE_ENV !== "production") return "memory:";
  throw new ConfluoError(
    "NO_BROKER_ADDRESS",
    "No broker address is given and NODE_ENV is production: use --broker amqp://…, or set CONFLUO_BROKER. For the embedded broker, use --broker memory:.",
  );
}

/** @returns true if the services are connected, false if the command was interrupted before. */
async function connected(
  services: readonly Service[],
  brokerOf: BrokerFor,
  { flags, terminal }: { readonly flags: RunFlags; readonly terminal: Terminal },
): Promise<boolean> {
  const { signal } = terminal;
  const limits = { timeoutMs: flags.connectTimeout ?? LONGEST_MS, signal };
  const began = performance.now();
  const reminder = setInterval(() => remind(services, performance.now() - began), REMIND_MS);
  try {
    await Promise.all(services.map((service) => service.connect(brokerOf(service), limits)));
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  } finally {
    clearInterval(reminder);
  }
}

function remind(services: readonly Service[], passedMs: number): void {
  const waiting = services.filter(({ state }) => state === "connecting");
  const [first] = waiting;
  if (first === undefined) return;
  const names = waiting.map(({ name }) => name).join(", ");
  const why = first.health().reason?.message ?? "The broker does not answer.";
  const seconds = Math.round(passedMs / 1_000);
  consoleLogger.warn(
    { services: waiting.map(({ name }) => name) },
    `${names}: not connected for ${seconds} s. ${why}`,
  );
}

/** Returns a text that says which services run on which broker. */
function placesOf(services: readonly Service[]): string {
  const places = new Map<string, string[]>();
  for (const { name, broker } of services) {
    const place = typeof broker === "object" && "description" in broker ? broker.description : "the broker";
    places.set(place, [...(places.get(place) ?? []), name]);
  }
  return [...places].map(([place, names]) => `${names.join(", ")}: running on ${place}`).join("; ");
}

async function listen(
  address: string,
  services: readonly Service[],
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const at = listenAddress(address);
  const { observe } = await import("../../http/index.ts");
  return observe(services, at);
}
