/** The services that modules export. */

import { existsSync } from "node:fs";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ConfluoError, type Service } from "../index.ts";

/**
 * Imports modules and collects the services that they export: by any name, in lists, or from a default export that is a
 * function which makes them.
 *
 * @throws `INVALID_ARGUMENT` for a module without one, or that cannot be loaded.
 */
export async function servicesIn(files: readonly string[]): Promise<readonly Service[]> {
  const found = new Set<Service>();
  for (const file of files) {
    const before = found.size;
    for (const [name, value] of Object.entries(await load(file)))
      for (const service of await collected(name, value)) found.add(service);
    if (found.size === before)
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        `${file} exports no service: export one, a list of them, or a function that makes them.`,
      );
  }
  return [...found];
}

async function load(file: string): Promise<object> {
  if (!existsSync(resolve(file))) throw new ConfluoError("INVALID_ARGUMENT", `There is no file ${file}.`);
  try {
    return (await import(pathToFileURL(resolve(file)).href)) as object;
  } catch (cause) {
    const code = (cause as { readonly code?: unknown }).code;
    if (code === "ERR_UNKNOWN_FILE_EXTENSION" && /^\.[cm]?tsx?$/.test(extname(file)))
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        `This Node.js (${process.versions.node}) reads no TypeScript: use Node 22.18 or later, or install tsx and set NODE_OPTIONS="--import tsx".`,
        { cause },
      );
    // What is missing says the message; a stack leads into Node's loader.
    if (code === "ERR_MODULE_NOT_FOUND")
      throw new ConfluoError("INVALID_ARGUMENT", `${file} cannot be loaded: ${(cause as Error).message}.`, {
        cause,
      });
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    throw new ConfluoError("INVALID_ARGUMENT", `${file} cannot be loaded: ${reason}`, { cause });
  }
}

// What is exported by a name of its own may be a function for something else.
async function collected(name: string, value: unknown): Promise<readonly Service[]> {
  const isMaker = name === "default" && typeof value === "function" && !isClass(value);
  const made: unknown = isMaker ? await (value as () => unknown)() : value;
  return (Array.isArray(made) ? made : [made]).filter(isService);
}

function isClass(value: object): boolean {
  return /^class\b/.test(Function.prototype.toString.call(value));
}

// Of whichever copy of the package.
function isService(value: unknown): value is Service {
  const { connect, shutdown, stats } = (value ?? {}) as Partial<Service>;
  return [connect, shutdown, stats].every((method) => typeof method === "function");
}
