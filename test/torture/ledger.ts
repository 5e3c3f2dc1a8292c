/**
 * The ledger: for each process an append-only file, one line per fact, such as `81250 handled north send.north.press-1.3.17.plain 1`.
 * A line is written synchronously before the fact counts, so a SIGKILL takes no fact that anyone relies on.
 */

import { closeSync, fstatSync, openSync, readdirSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";

/**
 * `asked`: a publisher is about to use a verb. `confirmed`: it resolved. `rejected`: it did so with a code. `wrong`: an
 * answer or a message was not the one it should be. `hung`: a verb did not settle in time. `handled`, `failed`, `died`: a
 * handler ran to its end, is about to throw on purpose, or to kill its process. `rss`: memory of the process, in bytes.
 */
export type FactName =
  | "asked"
  | "confirmed"
  | "rejected"
  | "wrong"
  | "hung"
  | "handled"
  | "failed"
  | "died"
  | "rss";

export interface Fact {
  /** Milliseconds since the run began. */
  readonly at: number;
  readonly name: FactName;
  readonly words: readonly string[];
  /** File it is from, without its ending: the process. */
  readonly process: string;
}

const ending = ".ledger";

export function ledgerFile(folder: string, process: string): string {
  return join(folder, process + ending);
}

/** Writes one process's facts. */
export class Ledger {
  readonly #file: number;
  readonly #epoch: number;

  /** @param epoch When the run began, in milliseconds: all processes share one clock. */
  constructor(file: string, epoch: number) {
    this.#file = openSync(file, "a");
    this.#epoch = epoch;
  }

  write(name: FactName, ...words: readonly (string | number)[]): void {
    writeSync(this.#file, `${[Date.now() - this.#epoch, name, ...words].join(" ")}\n`);
  }
}

/** Reads the facts of all processes while they are written. */
export class LedgerReader {
  readonly #folder: string;
  readonly #read = new Map<string, { offset: number; rest: string }>();
  readonly #buffer = Buffer.alloc(1 << 16);

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Hands on what was written since the last time. */
  readNew(take: (fact: Fact) => void): void {
    for (const name of readdirSync(this.#folder)) {
      if (name.endsWith(ending)) this.#readFile(name, take);
    }
  }

  #readFile(name: string, take: (fact: Fact) => void): void {
    const state = this.#read.get(name) ?? { offset: 0, rest: "" };
    this.#read.set(name, state);
    const file = openSync(join(this.#folder, name), "r");
    try {
      const { size } = fstatSync(file);
      while (state.offset < size) {
        const count = readSync(file, this.#buffer, 0, this.#buffer.length, state.offset);
        if (count === 0) return;
        state.offset += count;
        // Identities are ASCII: no character is torn between two reads.
        const lines = (state.rest + this.#buffer.toString("latin1", 0, count)).split("\n");
        state.rest = lines.pop() ?? "";
        for (const line of lines) take(parseFact(line, name.slice(0, -ending.length)));
      }
    } finally {
      closeSync(file);
    }
  }
}

/** Reads one line. */
export function parseFact(line: string, process: string): Fact {
  const [at, name, ...words] = line.split(" ");
  return { at: Number(at), name: name as FactName, words, process };
}
