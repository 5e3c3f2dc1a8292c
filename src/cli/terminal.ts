/** The streams that a command reads and writes: those of the process, or those of a test. */

import { once } from "node:events";
import type { Readable, Writable } from "node:stream";

/** The streams, environment and signal of a command. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts when the command should end: on Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
}

/** Functions that colour a text by its meaning. */
export type Paint = Readonly<
  Record<"good" | "bad" | "doubtful" | "faint" | "strong", (text: string) => string>
>;

const codes = { good: 32, bad: 31, doubtful: 33, faint: 2, strong: 1 } as const;

/**
 * Returns colours for standard output. They are on only if it is a terminal, unless `FORCE_COLOR` or `NO_COLOR` says otherwise.
 */
export function paintOf({ stdout, env }: Terminal): Paint {
  const isForced = env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== "0";
  const isOn = isForced || (stdout.isTTY === true && !env.NO_COLOR && env.FORCE_COLOR !== "0");
  const paint = (code: number) => (text: string) => (isOn ? `\u001b[${code}m${text}\u001b[0m` : text);
  const { good, bad, doubtful, faint, strong } = codes;
  return {
    good: paint(good),
    bad: paint(bad),
    doubtful: paint(doubtful),
    faint: paint(faint),
    strong: paint(strong),
  };
}

/** Waits until the command should end, and keeps the process alive meanwhile, because a signal alone does not. */
export async function untilEnded({ signal }: Terminal): Promise<void> {
  const hold = setInterval(() => undefined, 2_147_483_647);
  if (!signal.aborted) await once(signal, "abort");
  clearInterval(hold);
}

/** Writes a line of text. */
export function writeLine(stream: Writable, text = ""): void {
  stream.write(`${harmless(text)}\n`);
}

// Control characters, except the escape sequences of colours.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROLS = /\u001b(?!\[\d+m)|[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009f]/g;

/**
 * Replaces control characters, because anyone may have written a path or an error: a terminal must show them and not execute
 * them.
 */
export function harmless(text: string): string {
  return text.replace(CONTROLS, "\ufffd");
}

/** Writes a value as one line of JSON to standard output. */
export function writeJson({ stdout }: Terminal, value: unknown): void {
  writeLine(stdout, jsonOf(value));
}

/** Returns JSON without control characters. */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\u009f]/g,
    (control) => `\\u00${control.charCodeAt(0).toString(16)}`,
  );
}
