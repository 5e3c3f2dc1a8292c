/** How far a run is, for who waits for it. */

import type { Step } from "./plan.ts";
import type { Listener } from "./run.ts";

/** Where it is shown: `process.stderr`, or what behaves like it. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const TICK_MS = 1_000;
/** Between two lines, where it is no terminal. */
const QUIET_MS = 15_000;
const BAR_CHARACTERS = 24;

/** One line that is rewritten; where it is no terminal, a line now and then. */
export class Progress implements Listener {
  readonly #screen: Screen;
  readonly #isTerminal: boolean;
  readonly #hasColour: boolean;
  #now: { readonly text: string; readonly share: number; readonly endsAt: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(screen: Screen, env: NodeJS.ProcessEnv) {
    this.#screen = screen;
    this.#isTerminal = screen.isTTY === true && env.TERM !== "dumb";
    this.#hasColour = this.#isTerminal && !env.NO_COLOR;
  }

  begin(step: Step, { done, total, leftMs }: Parameters<Listener["begin"]>[1]): void {
    const text = `${done + 1}/${total} ${step.subject.name} ${step.variant}`;
    this.#now = { text, share: done / total, endsAt: performance.now() + leftMs };
    this.#show();
    if (this.#isTerminal) this.#timer ??= setInterval(() => this.#show(), TICK_MS);
  }

  fail(step: Step, reason: string): void {
    this.say(`${step.variant} failed in ${step.subject.name}: ${reason}`);
  }

  /** A line that stays. */
  say(line: string): void {
    this.#wipe();
    this.#screen.write(`${line}\n`);
    if (this.#isTerminal) this.#show();
  }

  /** Takes the line away. */
  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#now = undefined;
    this.#wipe();
  }

  #show(): void {
    if (this.#now === undefined) return;
    const { text, share, endsAt } = this.#now;
    const left = formatLeft(endsAt - performance.now());
    if (this.#isTerminal) {
      const line = `${text}, ${left}`.slice(
        0,
        Math.max(0, (this.#screen.columns || 80) - BAR_CHARACTERS - 2),
      );
      this.#wipe();
      this.#screen.write(`${this.#bar(share)} ${line}`);
    } else if (performance.now() - this.#shownAt >= QUIET_MS) {
      this.#shownAt = performance.now();
      this.#screen.write(`${text}, ${left}\n`);
    }
  }

  #bar(share: number): string {
    const full = Math.round(share * BAR_CHARACTERS);
    const [done, rest] = ["━".repeat(full), "─".repeat(BAR_CHARACTERS - full)];
    return this.#hasColour ? `\x1b[36m${done}\x1b[90m${rest}\x1b[0m` : `${done}${rest}`;
  }

  #wipe(): void {
    if (this.#isTerminal) this.#screen.write("\r\x1b[2K");
  }
}

/** Such as `12 min left`: no more exact than it can be known. */
export function formatLeft(ms: number): string {
  if (ms < 1_500) return "nearly done";
  const seconds = Math.round(ms / 1_000);
  if (seconds < 90) return `${seconds} s left`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min left`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
}
