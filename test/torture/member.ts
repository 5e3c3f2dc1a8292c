/** One process of the torture: started, ended, paused and cut off from its broker, again and again. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
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
}

/** What all of them share. */
export interface MemberSurroundings {
  /** Where ledgers and logs go. */
  readonly folder: string;
  /** For temporary files. */
  readonly scratch: string;
  readonly settings: Pick<ProgramSettings, "namespace" | "epoch" | "seed" | "rate">;
  readonly onStarted: (pid: number) => void;
  readonly onEnded: (pid: number) => void;
  /** Something that must not happen: it ended by itself, or did not end when told to. */
  readonly onProblem: (problem: string) => void;
}

const root = join(import.meta.dirname, "..", "..");
/** A shutdown takes at most 8 s unless told otherwise, and a little for what follows. */
const shutdownMs = 15_000;

export class Member {
  readonly spec: MemberSpec;
  readonly proxies: readonly TcpProxy[];
  readonly #urls: readonly string[];
  readonly #surroundings: MemberSurroundings;
  #starts = 0;
  #child: ChildProcess | undefined;
  #exited: Promise<unknown> = Promise.resolve();
  #told = false;
  /** A fault is under way: one at a time. */
  busy = false;
  /** Resolves when it has connected for the first time. */
  readonly ready: Promise<void>;
  #setReady: () => void = () => undefined;

  constructor(
    spec: MemberSpec,
    connections: { readonly proxies: readonly TcpProxy[]; readonly urls: readonly string[] },
    surroundings: MemberSurroundings,
  ) {
    this.spec = spec;
    this.proxies = connections.proxies;
    this.#urls = connections.urls;
    this.#surroundings = surroundings;
    this.ready = new Promise((resolve) => {
      this.#setReady = resolve;
    });
  }

  start(): void {
    const { folder, scratch, settings, onStarted, onEnded, onProblem } = this.#surroundings;
    const { name, program, service } = this.spec;
    this.#starts += 1;
    this.#told = false;
    const process_ = `${name}.${this.#starts}`;
    const given: ProgramSettings = {
      ...settings,
      service,
      process: process_,
      urls: this.#urls,
      ledger: ledgerFile(folder, process_),
    };
    const log = openSync(join(folder, `${name}.log`), "a");
    const child = fork(join(import.meta.dirname, `${program}.ts`), [JSON.stringify(given)], {
      cwd: root,
      execArgv: ["--import", "tsx"],
      env: { ...process.env, TMPDIR: scratch },
      stdio: ["ignore", log, log, "ipc"],
      detached: true, // Ctrl-C in the terminal is not for it.
    });
    closeSync(log);
    const { pid } = child;
    if (pid !== undefined) onStarted(pid);
    child.on("message", (message: ProgramMessage) => {
      if (message === "ready") this.#setReady();
    });
    this.#exited = once(child, "exit").then(([code, signal]) => {
      if (pid !== undefined) onEnded(pid);
      const how = signal === null ? `exit code ${code}` : `${signal}`;
      // SIGTERM ends it at once if it comes before the program has begun.
      const meant = this.#told && (code === 0 || signal !== null);
      if (!meant) onProblem(`${process_} ended with ${how}; see ${name}.log`);
    });
    this.#child = child;
  }

  /** SIGKILL, and a new start after a while. */
  async kill(awayMs: number): Promise<void> {
    await this.end();
    await sleep(awayMs);
    this.start();
  }

  /** SIGTERM, and a new start after a while. */
  async terminate(awayMs: number): Promise<void> {
    await this.leave();
    await sleep(awayMs);
    this.start();
  }

  async pause(lastsMs: number): Promise<void> {
    this.#child?.kill("SIGSTOP");
    await sleep(lastsMs);
    this.#child?.kill("SIGCONT");
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

  /** Ends it gracefully: at once, or when everything that it waits for has settled. */
  async leave(how: "terminate" | "finish" = "terminate"): Promise<void> {
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

  /** Ends it at once, paused or not. */
  async end(): Promise<void> {
    this.#told = true;
    this.#child?.kill("SIGKILL");
    await this.#exited;
  }
}
