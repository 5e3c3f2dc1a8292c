/** Names of services in a file of the user's, for the next command. */

import { randomBytes } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { changeNames, type NameChange, type NameStore } from "../../known/known-services.ts";

/** As many files as are kept in a folder: one for each broker and namespace. */
export const MOST_FILES = 100;

/** More than so many names of the longest kind take. */
const MOST_BYTES = 1_048_576;
const VERSION = 1;
/** After that time, a file that was to be renamed is one that a process left behind. */
const LEFT_BEHIND_MS = 3_600_000;
const OWN = /^[\da-f]{32}\.json$/;
const OWN_UNFINISHED = /^[\da-f]{32}\.json\..+\.tmp$/;

/**
 * A file with names of services, for its user's eyes alone. What is in the way of reading it, or no such file, counts as no names and is
 * replaced. It is replaced as a whole, by a rename, after a look at what is in it by then. So two commands at a time leave a whole
 * file; if they write within the same millisecond, it lacks what one of them saw until that is seen again.
 */
export class NameFile implements NameStore {
  readonly #path: string;
  #isKept = true;

  /** @param path its name is 32 hexadecimal digits and `.json`; the folder is made when there is something to keep. */
  constructor(path: string) {
    this.#path = path;
  }

  get isKept(): boolean {
    return this.#isKept;
  }

  read(): readonly string[] {
    return namesIn(readSmallFile(this.#path));
  }

  write(change: NameChange): void {
    try {
      const before = readSmallFile(this.#path);
      const names = changeNames(namesIn(before), change);
      const after = `${JSON.stringify({ version: VERSION, services: names })}\n`;
      if (names.length === 0) {
        if (before !== undefined) rmSync(this.#path, { force: true });
      } else if (after === before) touch(this.#path);
      else {
        replaceFile(this.#path, after);
        if (before === undefined) removeOldFiles(this.#path);
      }
      this.#isKept = true;
    } catch {
      // A home that is read-only, a disk that is full: the command is about something else.
      this.#isKept = false;
    }
  }
}

function readSmallFile(path: string): string | undefined {
  try {
    // A path that is no file could be a pipe, on which reading waits.
    const found = lstatSync(path);
    return found.isFile() && found.size <= MOST_BYTES ? readFileSync(path, "utf8") : undefined;
  } catch {
    return undefined;
  }
}

function namesIn(text: string | undefined): readonly string[] {
  try {
    const found = JSON.parse(text ?? "null") as {
      readonly version?: unknown;
      readonly services?: unknown;
    } | null;
    return found?.version === VERSION && Array.isArray(found.services) ? changeNames(found.services, {}) : [];
  } catch {
    return [];
  }
}

function replaceFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const unfinished = `${path}.${process.pid}-${randomBytes(6).toString("hex")}.tmp`;
  try {
    writeFileSync(unfinished, text, { flag: "wx", mode: 0o600 });
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
}

// Its time says when it was last of use, and so which file may go.
function touch(path: string): void {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // It says what it should, and that is what matters.
  }
}

function removeOldFiles(newest: string): void {
  const folder = dirname(newest);
  const found = readdirSync(folder).flatMap((name) => {
    const time = statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs;
    return time === undefined ? [] : [{ name, time }];
  });
  const files = found
    .filter(({ name }) => OWN.test(name) && name !== basename(newest))
    .sort((a, b) => b.time - a.time);
  const unfinished = found.filter(
    ({ name, time }) => OWN_UNFINISHED.test(name) && Date.now() - time > LEFT_BEHIND_MS,
  );
  for (const { name } of [...files.slice(MOST_FILES - 1), ...unfinished])
    rmSync(join(folder, name), { force: true });
}
