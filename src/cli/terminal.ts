/** Where a command reads and writes: the process's own streams, or a test's. */

import { once } from "node:events";
import type { Readable, Writable } from "node:stream";

/** The streams and surroundings of a command. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Fires when the command shall end: Ctrl-C, SIGTERM. */
  readonly signal: AbortSignal;
}

/** Colours by what they mean. */
export type Paint = Readonly<
  Record<"good" | "bad" | "doubtful" | "faint" | "strong", (text: string) => string>
>;

const codes = { good: 32, bad: 31, doubtful: 33, faint: 2, strong: 1 } as const;

/** Colours for what is written to standard output: on a terminal only, unless `FORCE_COLOR` or `NO_COLOR` say otherwise. */
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

/** Waits until the command shall end, and holds the process meanwhile: a signal does not. */
export async function untilEnded({ signal }: Terminal): Promise<void> {
  const hold = setInterval(() => undefined, 2_147_483_647);
  if (!signal.aborted) await once(signal, "abort");
  clearInterval(hold);
}

/** For people. */
export function writeLine(stream: Writable, text = ""): void {
  stream.write(`${harmless(text)}\n`);
}

// Colours begin with an escape, too.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROLS = /\u001b(?!\[\d+m)|[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009f]/g;

/** A text as a terminal shows it, and does nothing else: paths and errors may be written by anyone. */
export function harmless(text: string): string {
  return text.replace(CONTROLS, "\ufffd");
}

/** For machines: one line. */
export function writeJson({ stdout }: Terminal, value: unknown): void {
  writeLine(stdout, jsonOf(value));
}

/** JSON that is harmless as it is. */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\u009f]/g,
    (control) => `\\u00${control.charCodeAt(0).toString(16)}`,
  );
}
