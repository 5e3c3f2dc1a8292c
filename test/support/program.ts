/** A Node program as a process of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { eventually } from "../../src/testing/index.ts";

/** A program that runs, and what it has printed. */
export class Program {
  output = "";
  errors = "";
  /** Resolves with the exit code, `null` after a signal, once all output is there. */
  readonly exit: Promise<number | null>;
  readonly #child: ChildProcess;

  constructor(args: readonly string[], options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }) {
    this.#child = spawn(process.execPath, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.output += text;
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.errors += text;
    });
    this.exit = once(this.#child, "close").then(([code]) => code as number | null);
  }

  /** Waits until it has printed something, on either output; resolves with the first group of the pattern, or the match. */
  async says(what: RegExp | string): Promise<string> {
    const pattern = typeof what === "string" ? new RegExp(what.replace(/[^\w\s]/g, "\\$&")) : what;
    const find = (): RegExpExecArray | null => pattern.exec(this.output) ?? pattern.exec(this.errors);
    const hasEnded = (): boolean => this.#child.exitCode !== null || this.#child.signalCode !== null;
    await eventually(() => find() !== null || hasEnded(), String(pattern), { timeoutMs: 30_000 }).catch(
      () => undefined,
    );
    // What it said last may be on its way yet.
    if (find() === null && hasEnded()) await this.exit;
    if (find() === null) throw new Error(`It never said ${pattern}, but:\n${this.output}${this.errors}`);
    const found = find();
    return found?.[1] ?? found?.[0] ?? "";
  }

  signal(signal: "SIGTERM" | "SIGKILL" | "SIGINT"): void {
    this.#child.kill(signal);
  }

  /** Sends SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null> {
    this.signal("SIGTERM");
    return this.exit;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.signal("SIGKILL");
    await this.exit;
  }
}
