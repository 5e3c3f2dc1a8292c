/** Notices changes of code files, however an editor saves them. */

import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";

const SETTLE_MS = 100;

/**
 * Notices files that are written, created, renamed or removed in the folders of some files and in their subfolders. Each folder
 * has its own watcher, because on Linux a recursive watcher watches each file itself, and loses a file that an editor replaces.
 */
export class Changes {
  readonly #watchers = new Map<string, FSWatcher>();
  #waiting: (() => void)[] = [];
  #settling: NodeJS.Timeout | undefined;

  constructor(files: readonly string[]) {
    for (const file of files) this.#follow(dirname(resolve(file)));
  }

  /** Resolves after the next change, once no further change follows within 100 ms. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    clearTimeout(this.#settling);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #follow(folder: string): void {
    if (this.#watchers.has(folder)) return;
    try {
      const watcher = watch(folder, (_event, name) => this.#seen(folder, name));
      watcher.on("error", () => this.#forget(folder));
      this.#watchers.set(folder, watcher);
      for (const entry of readdirSync(folder, { withFileTypes: true }))
        if (entry.isDirectory() && !isApart(entry.name)) this.#follow(join(folder, entry.name));
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }

  #forget(folder: string): void {
    for (const [path, watcher] of this.#watchers) {
      if (path !== folder && !path.startsWith(`${folder}${sep}`)) continue;
      watcher.close();
      this.#watchers.delete(path);
    }
  }

  #seen(folder: string, name: string | null): void {
    if (name !== null) {
      if (isApart(name)) return;
      const path = join(folder, name);
      const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
      // A new folder may have replaced the one that was watched under this name.
      if (isFolder || this.#watchers.has(path)) this.#forget(path);
      if (isFolder) this.#follow(path);
      else if (!isCode(name)) return;
    }
    // Waits, because editors write a file in several steps.
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#tell(), SETTLE_MS);
  }

  #tell(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

// A file that a service writes, such as its log, must not cause a restart.
function isCode(name: string): boolean {
  return /\.(?:[cm]?[jt]sx?|json)$/.test(name);
}

function isApart(name: string): boolean {
  return name === "node_modules" || name.startsWith(".");
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}
