/** `confluo run`: services in a process, or in several. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { watch as watchFile } from "node:fs";
import { dirname, resolve } from "node:path";
import { ConfluoError } from "../../index.ts";
import {
  type AddressFlags,
  addressOf,
  brokerAt,
  type CommandSetup,
  countOf,
  namespaceOf,
  withAddressFlags,
} from "../context.ts";
import { Ended, exitCodes } from "../exit-codes.ts";
import { servicesIn } from "../services.ts";
import { type Terminal, untilEnded, writeLine } from "../terminal.ts";

interface Flags extends AddressFlags {
  readonly instances?: number;
  readonly watch?: true;
  readonly http?: string;
}

const SETTLE_MS = 100;

export const runCommand: CommandSetup = (program, terminal) => {
  withAddressFlags(program.command("run <files...>"))
    .description(
      "run the services that modules export, by any name, in lists, or from a default export that is a function which makes " +
        "them, until Ctrl-C or SIGTERM; then they finish what they have. Without a broker they meet on the embedded one, " +
        "within the process, unless NODE_ENV is production. TypeScript needs Node 22.18, or tsx: NODE_OPTIONS='--import tsx'",
    )
    .option("-i, --instances <number>", "so many processes; needs a broker", countOf)
    .option("-w, --watch", "start again when a .js, .ts or .json file beside the modules changes")
    .option("--http <address>", "serve /healthz, /readyz and /metrics there, such as :9464")
    .action(async (files: string[], flags: Flags) => {
      if (flags.watch) await runWatched(files, flags, terminal);
      else if ((flags.instances ?? 1) > 1) await runMany(files, flags, terminal);
      else await runHere(files, flags, terminal);
    });
};

async function runHere(files: readonly string[], flags: Flags, terminal: Terminal): Promise<void> {
  const { signal, stderr } = terminal;
  const services = await servicesIn(files);
  const address = addressOf(flags, terminal) || embeddedUnlessProduction(terminal);
  // One broker for all of them, so that they share its connections.
  const broker = brokerAt(address, namespaceOf(flags, terminal));
  const http = flags.http === undefined ? undefined : await listen(flags.http, services);
  try {
    await Promise.all(services.map((service) => service.connect(broker, { signal })));
    const names = services.map(({ name }) => name).join(", ");
    writeLine(
      stderr,
      `${names}: running on ${broker.description}${http === undefined ? "" : `, ${http.url}`}.`,
    );
    await untilEnded(terminal);
  } finally {
    await Promise.all(services.map((service) => service.shutdown()));
    await http?.close();
  }
}

// As a service itself has it: forgotten, it would look healthy and meet nobody.
function embeddedUnlessProduction({ env }: Terminal): string {
  if (env.NODE_ENV !== "production") return "memory:";
  throw new ConfluoError(
    "NO_BROKER_ADDRESS",
    "No broker address is given and NODE_ENV is production: say --broker amqp://…, or set CONFLUO_BROKER. For the embedded broker, say --broker memory:.",
  );
}

async function listen(address: string, services: Awaited<ReturnType<typeof servicesIn>>) {
  const [, host = "", port = ""] = /^(?:(.*):)?(\d+)$/.exec(address) ?? [];
  if (port === "")
    throw new ConfluoError("INVALID_ARGUMENT", `--http must be :port or host:port, got ${address}.`);
  const { observe } = await import("../../http/index.ts");
  return observe(services, { port: Number(port), ...(host === "" ? {} : { host }) });
}

async function runMany(files: readonly string[], flags: Flags, terminal: Terminal): Promise<void> {
  if (["", "memory:"].includes(addressOf(flags, terminal)))
    throw new ConfluoError(
      "NO_BROKER_ADDRESS",
      "Several processes do not meet on the embedded broker: say --broker, or set CONFLUO_BROKER.",
    );
  if (flags.http !== undefined)
    throw new ConfluoError("INVALID_ARGUMENT", "--http is for one process: a port has one owner.");
  const { instances: _, ...each } = flags;
  const children = Array.from({ length: flags.instances as number }, () => start(files, each));
  const stop = (): void => {
    for (const child of children) askToEnd(child);
  };
  terminal.signal.addEventListener("abort", stop, { once: true });
  if (terminal.signal.aborted) stop();
  const codes = await Promise.all(
    children.map(async (child) => {
      const code = await ended(child);
      // The others would hide that one is missing.
      if (code !== 0) stop();
      return code;
    }),
  );
  terminal.signal.removeEventListener("abort", stop);
  const failed = codes.find((code) => code !== 0);
  if (failed !== undefined && !terminal.signal.aborted) throw new Ended(failed);
}

async function runWatched(files: readonly string[], flags: Flags, terminal: Terminal): Promise<void> {
  const { signal, stderr } = terminal;
  const changes = new Changes(files);
  try {
    while (!signal.aborted) {
      const child = start(files, flags);
      const stop = (): void => askToEnd(child);
      signal.addEventListener("abort", stop, { once: true });
      const exit = ended(child);
      const changed = changes.next();
      const why = await Promise.race([changed.then(() => "changed"), exit.then(() => "ended")]);
      if (why === "changed") stop();
      const code = await exit;
      signal.removeEventListener("abort", stop);
      if (signal.aborted) return;
      if (why === "ended") {
        writeLine(stderr, `Ended with ${code}; waiting for a change.`);
        await Promise.race([changed, once(signal, "abort")]);
      } else writeLine(stderr, "Changed; starting again.");
    }
  } finally {
    changes.close();
  }
}

class Changes {
  readonly #watchers: { close(): void }[];
  #waiting: (() => void)[] = [];
  #settling: NodeJS.Timeout | undefined;

  constructor(files: readonly string[]) {
    const folders = new Set(files.map((file) => dirname(resolve(file))));
    this.#watchers = [...folders].map((folder) =>
      watchFile(folder, { recursive: true }, (_event, name) => {
        if (name !== null && !isCode(name)) return;
        // Editors write a file in several steps.
        clearTimeout(this.#settling);
        this.#settling = setTimeout(() => this.#tell(), SETTLE_MS);
      }),
    );
  }

  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    clearTimeout(this.#settling);
    for (const watcher of this.#watchers) watcher.close();
  }

  #tell(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

// What a service writes, such as its log, starts nothing again.
function isCode(name: string): boolean {
  return /\.(?:[cm]?[jt]sx?|json)$/.test(name) && !/(^|[\\/])(node_modules|\.[^\\/]*)([\\/]|$)/.test(name);
}

// The same command, once.
function start(files: readonly string[], { broker, namespace, http, instances }: Flags): ChildProcess {
  const given = {
    broker,
    namespace,
    http,
    instances: instances === undefined ? undefined : String(instances),
  };
  const options = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  );
  const main = process.argv[1] as string;
  return spawn(process.execPath, [...process.execArgv, main, "run", ...options, ...files], {
    stdio: "inherit",
  });
}

// Once: a second signal of a kind would end it with its work undone.
function askToEnd(child: ChildProcess): void {
  if (!child.killed) child.kill("SIGTERM");
}

async function ended(child: ChildProcess): Promise<number> {
  const [code] = (await once(child, "exit")) as [number | null];
  return code ?? exitCodes.failed;
}
