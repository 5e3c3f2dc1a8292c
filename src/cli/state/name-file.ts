/** Stores names of services in a file of the user, for later commands. */

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

/** Largest number of files in the folder; there is one for each broker and namespace. */
export const MOST_FILES = 100;

/** Larger than a file with the most and longest names can be. */
const MOST_BYTES = 1_048_576;
const VERSION = 1;
/** Age at which an unfinished file counts as abandoned by its process. */
const LEFT_BEHIND_MS = 3_600_000;
const OWN = /^[\da-f]{32}\.json$/;
const OWN_UNFINISHED = /^[\da-f]{32}\.json\..+\.tmp$/;

/**
 * A file with names of services that only its user can read. If the file does not exist, cannot be read or is not valid, it
 * counts as empty and is replaced. A write reads the present contents again and replaces the whole file by a rename. So two
 * commands at the same time leave a complete file; if they write within the same millisecond, names that one of them saw are
 * missing until they are seen again.
 */
export class NameFile implements NameStore {
  readonly #path: string;
  #isKept = true;

  /** @param path has a name of 32 hexadecimal digits and `.json`; the folder is created when there is a name to store. */
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
      // Errors such as a read-only home or a full disk are ignored, because storing names is not the command's purpose.
      this.#isKept = false;
    }
  }
}

function readSmallFile(path: string): string | undefined {
  try {
    // Checks the type first, because the path could be a pipe, on which reading would block.
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

// The file's time shows when it was last used, and so which files may be removed.
function touch(path: string): void {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // Ignored, because the contents are right, and only the time is not.
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
