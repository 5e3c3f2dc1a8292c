/** A process that runs one program of a measurement. */

import type { ChildProcess } from "node:child_process";
import { type Launch, launchNode } from "./launch.ts";
import type { FromWorker, Role, ToWorker } from "./messages.ts";

const ANSWER_MS = 60_000;

type Answer<Kind extends FromWorker["kind"]> = Extract<FromWorker, { kind: Kind }>;

export class Program {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #exited: Promise<void>;
  #waiting: { kind: string; resolve: (answer: never) => void; reject: (error: Error) => void } | undefined;
  #failure: Error | undefined;

  /** @param name for people: it begins messages, and names the profile. */
  constructor(name: string, launch: Launch) {
    this.#name = name;
    this.#child = launchNode(new URL("./worker.js", launch.programs ?? import.meta.url), name, launch);
    let errors = "";
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      errors = (errors + String(chunk)).slice(-2_000);
    });
    this.#child.on("message", (message: FromWorker) => {
      if (message.kind === "failed") this.#fail(new Error(`${name}: ${message.reason}`));
      else if (message.kind === this.#waiting?.kind) this.#waiting.resolve(message as never);
    });
    this.#child.on("error", (error) => this.#fail(error));
    this.#exited = new Promise((resolve) => {
      this.#child.once("exit", (code, signal) => {
        this.#fail(new Error(`${name} ended with ${code ?? signal}. ${errors}`.trim()));
        resolve();
      });
    });
  }

  async begin(role: Role): Promise<void> {
    await this.ask({ kind: "begin", role }, "ready");
  }

  /** Microseconds of CPU so far. */
  async cpu(): Promise<number> {
    return (await this.ask({ kind: "cpu" }, "cpu")).us;
  }

  /** Waits for an answer as long as it may take, and a minute more. */
  async ask<Kind extends FromWorker["kind"]>(
    message: ToWorker,
    kind: Kind,
    withinMs = 0,
  ): Promise<Answer<Kind>> {
    if (this.#failure !== undefined) throw this.#failure;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Answer<Kind>>((resolve, reject) => {
        const silent = new Error(`${this.#name} did not answer '${message.kind}'.`);
        timer = setTimeout(() => reject(silent), withinMs + ANSWER_MS);
        this.#waiting = { kind, resolve, reject };
        this.#child.send(message);
      });
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  /** Ends it as a crash would. Resolves when it is gone. */
  kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    return this.#exited;
  }

  /** Ends it, by force if it does not end by itself. */
  async end(): Promise<void> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5_000);
    if (this.#failure !== undefined) this.#child.kill("SIGKILL");
    else await this.ask({ kind: "end" }, "ended").catch(() => this.#child.kill("SIGKILL"));
    await this.#exited;
    clearTimeout(timer);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.reject(error);
  }
}
