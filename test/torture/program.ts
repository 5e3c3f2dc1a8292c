/** What the programs of consumers and publishers have in common: their settings, connecting, and how they leave. */

import { setTimeout as sleep } from "node:timers/promises";
import { Broker, isConfluoError, type Service } from "../../src/index.ts";
import { Ledger } from "./ledger.ts";
import type { ServiceName } from "./traffic.ts";

/** What a program is told when it starts. */
export interface ProgramSettings {
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
}

/** What a program says to, and hears from, the one that started it. */
export type ProgramMessage = "ready" | "finish";

export interface Program {
  readonly settings: ProgramSettings;
  readonly broker: Broker;
  readonly ledger: Ledger;
}

/** Starts a program: to be called once, at first. */
export function startProgram(): Program {
  const settings: ProgramSettings = JSON.parse(process.argv[2] ?? "{}");
  return {
    settings,
    broker: new Broker(settings.urls, { namespace: settings.namespace }),
    ledger: new Ledger(settings.ledger, settings.epoch),
  };
}

/** Work of a program between its connect and its shutdown. */
export interface Work {
  begin(): void;
  /** Begins nothing more. With `finish` it resolves when everything has settled, otherwise at once. */
  end(finish: boolean): Promise<void>;
  /** After the shutdown: says what is still open. */
  close(): void;
}

const memoryEveryMs = 2_000;

/** Connects, works until SIGTERM or until told to finish, and shuts down. */
export async function runProgram(service: Service, { ledger }: Program, work: Work): Promise<void> {
  let left = false;
  let connected = false;
  const orphaned = (): void => process.exit(1);
  process.once("disconnect", orphaned);
  const leaving = new Promise<"terminate" | "finish">((resolve) => {
    process.once("SIGTERM", () => resolve("terminate"));
    process.on("message", (message: ProgramMessage) => {
      if (message === "finish") resolve("finish");
    });
  }).finally(() => {
    left = true;
  });
  const memory = setInterval(() => ledger.write("rss", process.memoryUsage.rss()), memoryEveryMs);

  const connecting = connect(service, () => left).then(() => {
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

// Again and again: the broker may be down for longer than one connect() tries.
async function connect(service: Service, isLeft: () => boolean): Promise<void> {
  while (!isLeft()) {
    try {
      await service.connect();
      return;
    } catch (error) {
      if (!isConfluoError(error)) throw error;
      await sleep(100);
    }
  }
}
