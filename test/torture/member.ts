/** One process of the torture: started, ended, paused and cut off from its broker, again and again. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TcpProxy } from "../support/tcp-proxy.ts";
import { ledgerFile } from "./ledger.ts";
import type { ProgramMessage, ProgramSettings } from "./program.ts";

/** Which process it is. */
export interface MemberSpec {
  readonly name: string;
  readonly program: "consumer" | "publisher";
  readonly service: ProgramSettings["service"];
  /** Never ended nor paused. */
  readonly steady: boolean;
  /** `late`: at each other start it is of the old version, until the deploy is finished. */
  readonly deployed: "first" | "late";
  readonly frameMax?: number;
}

/** What all of them share. */
export interface MemberSurroundings {
  /** Where ledgers and logs go. */
  readonly folder: string;
  /** For temporary files. */
  readonly scratch: string;
  readonly settings: Pick<ProgramSettings, "namespace" | "epoch" | "seed" | "rate" | "poisonEveryMs">;
  /** The packages that the two versions run. */
  readonly entries: Readonly<Record<ProgramSettings["version"], string>>;
  /** Modules that the processes import before anything else. */
  readonly imports: readonly string[];
  readonly onStarted: (pid: number) => void;
  readonly onEnded: (pid: number) => void;
  /** A message has killed it. @returns what is to be called when it is back. */
  readonly onPoisoned: (name: string) => () => void;
  /** Something that must not happen: it ended by itself, or did not end when told to. */
  readonly onProblem: (problem: string) => void;
}

const root = join(import.meta.dirname, "..", "..");
/** A shutdown takes at most 8 s unless told otherwise, and a little for what follows. */
const shutdownMs = 15_000;
/** A little longer than a stall: then the process did not live to see the end of it. */
const stalledMs = 5_000;
const poisonedAwayMs = 500;

export class Member {
  readonly spec: MemberSpec;
  readonly proxies: readonly TcpProxy[];
  readonly #urls: readonly string[];
  readonly #surroundings: MemberSurroundings;
  #starts = 0;
  #child: ChildProcess | undefined;
  #exited: Promise<unknown> = Promise.resolve();
  #alive = false;
  #told = false;
  /** It is not to be started again. */
  #over = false;
  #deployed = false;
  #version: ProgramSettings["version"] = "new";
  /** A fault is under way: one at a time. */
  busy = false;
  /** Resolves when it has connected since its last start, or has ended. */
  ready: Promise<void> = Promise.resolve();

  constructor(
    spec: MemberSpec,
    connections: { readonly proxies: readonly TcpProxy[]; readonly urls: readonly string[] },
    surroundings: MemberSurroundings,
  ) {
    this.spec = spec;
    this.proxies = connections.proxies;
    this.#urls = connections.urls;
    this.#surroundings = surroundings;
  }

  /** Does nothing if it runs. */
  start(): void {
    if (this.#alive || this.#over) return;
    const { folder, scratch, imports, onStarted, onEnded } = this.#surroundings;
    const { name, program } = this.spec;
    this.#starts += 1;
    this.#told = false;
    this.#alive = true;
    const given = this.#settings();
    const log = openSync(join(folder, `${name}.log`), "a");
    const child = fork(join(import.meta.dirname, `${program}.ts`), [JSON.stringify(given)], {
      cwd: root,
      execArgv: ["tsx", ...imports].flatMap((module) => ["--import", module]),
      env: { ...process.env, TMPDIR: scratch },
      stdio: ["ignore", log, log, "ipc"],
      detached: true, // Ctrl-C in the terminal is not for it.
    });
    closeSync(log);
    const { pid } = child;
    if (pid !== undefined) onStarted(pid);
    child.on("error", () => undefined); // told something at its very end
    this.#exited = once(child, "exit").then(([code, signal]) => {
      this.#alive = false;
      if (pid !== undefined) onEnded(pid);
      this.#judgeEnd(given, code, signal);
    });
    const connected = new Promise<void>((resolve) => {
      child.on("message", (message: ProgramMessage) => {
        if (message === "ready") resolve();
      });
    });
    this.ready = Promise.race([connected, this.#exited.then(() => undefined)]);
    this.#child = child;
    this.#version = given.version;
  }

  #settings(): ProgramSettings {
    const { folder, settings, entries } = this.#surroundings;
    const { name, service, deployed, frameMax } = this.spec;
    const process = `${name}.${this.#starts}`;
    const isOld = deployed === "late" && !this.#deployed && this.#starts % 2 === 1;
    const version = isOld ? "old" : "new";
    return {
      ...settings,
      entry: entries[version],
      version,
      service,
      process,
      urls: this.#urls,
      ledger: ledgerFile(folder, process),
      frameMax,
    };
  }

  #judgeEnd({ process, ledger }: ProgramSettings, code: number | null, signal: NodeJS.Signals | null): void {
    // SIGTERM ends it at once if it comes before the program has begun.
    if (this.#told && (code === 0 || signal !== null)) return;
    const { onPoisoned, onProblem } = this.#surroundings;
    const { name } = this.spec;
    if (signal === "SIGKILL" && saysThatItDies(ledger)) {
      const isBack = onPoisoned(name);
      void sleep(poisonedAwayMs)
        .then(() => {
          this.start();
          return this.ready;
        })
        .then(isBack);
      return;
    }
    const how = signal === null ? `exit code ${code}` : `${signal}`;
    onProblem(`${process} ended with ${how}; see ${name}.log`);
  }

  /** SIGKILL, and a new start after a while. */
  async kill(awayMs: number): Promise<void> {
    await this.#end();
    await sleep(awayMs);
    this.start();
  }

  /** SIGTERM, and a new start after a while. */
  async terminate(awayMs: number): Promise<void> {
    await this.#leave("terminate");
    await sleep(awayMs);
    this.start();
  }

  async pause(lastsMs: number): Promise<void> {
    this.#child?.kill("SIGSTOP");
    await sleep(lastsMs);
    this.#child?.kill("SIGCONT");
  }

  /** Keeps its event loop busy. */
  async stall(lastsMs: number): Promise<void> {
    const child = this.#child;
    if (child?.connected !== true) return;
    const stalled = new Promise<void>((resolve) => {
      child.on("message", (message: ProgramMessage) => {
        if (message === "stalled") resolve();
      });
    });
    child.send({ stall: lastsMs } satisfies ProgramMessage);
    await Promise.race([stalled, this.#exited, sleep(lastsMs + stalledMs, undefined, { ref: false })]);
  }

  burst(count: number): void {
    if (this.#child?.connected === true) this.#child.send({ burst: count } satisfies ProgramMessage);
  }

  /** From now on it is of the new version. */
  async deploy(): Promise<void> {
    this.#deployed = true;
    if (this.#version === "new") return;
    await this.terminate(0);
    await this.ready;
  }

  cut(): void {
    for (const proxy of this.proxies) proxy.cut();
  }

  async mute(lastsMs: number): Promise<void> {
    for (const proxy of this.proxies) proxy.muted = true;
    await sleep(lastsMs);
    // Bytes are missing by now: these connections cannot go on.
    for (const proxy of this.proxies) {
      proxy.cut();
      proxy.muted = false;
    }
  }

  /** Ends it gracefully and for good: at once, or when everything that it waits for has settled. */
  leave(how: "terminate" | "finish" = "terminate"): Promise<void> {
    this.#over = true;
    return this.#leave(how);
  }

  /** Ends it at once and for good, paused or not. */
  end(): Promise<void> {
    this.#over = true;
    return this.#end();
  }

  async #leave(how: "terminate" | "finish"): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#told = true;
    if (how === "terminate") child.kill("SIGTERM");
    else if (child.connected) child.send("finish" satisfies ProgramMessage);
    const late = setTimeout(
      () => {
        this.#surroundings.onProblem(
          `${this.spec.name} did not shut down in time; see ${this.spec.name}.log`,
        );
        child.kill("SIGKILL");
      },
      how === "terminate" ? shutdownMs : 2 * shutdownMs,
    );
    await this.#exited;
    clearTimeout(late);
  }

  async #end(): Promise<void> {
    this.#told = true;
    this.#child?.kill("SIGKILL");
    await this.#exited;
  }
}

/** Whether its last words were that it handles poison. */
function saysThatItDies(ledger: string): boolean {
  return readFileSync(ledger, "latin1").split("\n").at(-2)?.split(" ")[1] === "died";
}
