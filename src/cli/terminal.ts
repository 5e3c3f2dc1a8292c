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

export function writeLine(stream: Writable, text = ""): void {
  stream.write(`${text}\n`);
}

/** For machines: one line. */
export function writeJson({ stdout }: Terminal, value: unknown): void {
  writeLine(stdout, JSON.stringify(value));
}
