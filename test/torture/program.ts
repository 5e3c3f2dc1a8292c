/** What the programs of consumers and publishers have in common: their settings, connecting, and how they leave. */

import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import type { Broker, Service } from "../../src/index.ts";
import { Ledger } from "./ledger.ts";
import type { ServiceName } from "./traffic.ts";

/** The package, of whichever build: only what both builds have may be used of it. */
export type Confluo = typeof import("../../src/index.ts");

/** What a program is told when it starts. */
export interface ProgramSettings {
  /** File of the package that it runs. */
  readonly entry: string;
  /** Which handlers a consumer has. */
  readonly version: "old" | "new";
  readonly service: ServiceName | "press";
  /** Name of the process and number of its start: `press-1.3`. */
  readonly process: string;
  readonly urls: readonly string[];
  readonly namespace: string;
  readonly ledger: string;
  /** When the run began, in milliseconds. */
  readonly epoch: number;
  readonly seed: number;
  /** Messages a second of a publisher. */
  readonly rate: number;
  /** Mean time between two poisons of a publisher; 0 for none. */
  readonly poisonEveryMs: number;
  /** The largest frame of the connection, in bytes, as far as the program has one that is special. */
  readonly frameMax: number | undefined;
}

/**
 * What a program says to, and hears from, the one that started it. `stall`: keep the event loop busy for so long, in
 * milliseconds, then say `stalled`. `burst`: publish so many messages at once.
 */
export type ProgramMessage =
  | "ready"
  | "finish"
  | "stalled"
  | { readonly stall: number }
  | { readonly burst: number };

export interface Program {
  readonly confluo: Confluo;
  readonly settings: ProgramSettings;
  readonly broker: Broker;
  readonly ledger: Ledger;
}

/** Starts a program: to be called once, at first. */
export async function startProgram(): Promise<Program> {
  const settings: ProgramSettings = JSON.parse(process.argv[2] ?? "{}");
  const confluo: Confluo = await import(pathToFileURL(settings.entry).href);
  const urls = settings.urls.map((text) => {
    const url = new URL(text);
    if (settings.frameMax !== undefined) url.searchParams.set("frameMax", String(settings.frameMax));
    return url.href;
  });
  return {
    confluo,
    settings,
    broker: new confluo.Broker(urls, { namespace: settings.namespace }),
    ledger: new Ledger(settings.ledger, settings.epoch),
  };
}

/** Work of a program between its connect and its shutdown. */
export interface Work {
  begin(): void;
  /** Publishes so many messages at once, if that is its work. */
  burst(count: number): void;
  /** Begins nothing more. With `finish` it resolves when everything has settled, otherwise at once. */
  end(finish: boolean): Promise<void>;
  /** After the shutdown: says what is still open. */
  close(): void;
}

const memoryEveryMs = 2_000;

/** Connects, works until SIGTERM or until told to finish, and shuts down. */
export async function runProgram(service: Service, program: Program, work: Work): Promise<void> {
  const { ledger } = program;
  let left = false;
  let connected = false;
  const orphaned = (): void => process.exit(1);
  process.once("disconnect", orphaned);
  const leaving = new Promise<"terminate" | "finish">((resolve) => {
    process.once("SIGTERM", () => resolve("terminate"));
    process.on("message", (message: ProgramMessage) => {
      if (message === "finish") resolve("finish");
      else if (typeof message === "string") return;
      else if ("stall" in message) stall(message.stall);
      else if (connected && !left) work.burst(message.burst);
    });
  }).finally(() => {
    left = true;
  });
  const memory = setInterval(() => ledger.write("rss", process.memoryUsage.rss()), memoryEveryMs);

  const connecting = connect(service, program.confluo, () => left).then(() => {
    if (left) return;
    connected = true;
    process.send?.("ready" satisfies ProgramMessage);
    work.begin();
  });
  const how = await leaving;
  if (connected) await work.end(how === "finish");
  await service.shutdown();
  await connecting;
  work.close();
  // From here the process has to end by itself: a timer or socket that confluo left behind would show.
  clearInterval(memory);
  process.removeListener("disconnect", orphaned);
  process.disconnect?.();
}

function stall(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
  process.send?.("stalled" satisfies ProgramMessage);
}

// Again and again: the broker may be down for longer than one connect() tries.
async function connect(service: Service, confluo: Confluo, isLeft: () => boolean): Promise<void> {
  while (!isLeft()) {
    try {
      await service.connect();
      return;
    } catch (error) {
      if (!confluo.isConfluoError(error)) throw error;
      await sleep(100);
    }
  }
}
