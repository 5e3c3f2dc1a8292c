/** Finds the services that modules export. */

import { existsSync } from "node:fs";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ConfluoError, type Service } from "../../index.ts";
import { describeSyntaxError } from "../syntax-errors.ts";

/**
 * Imports modules and returns the services that they export: under any name, in lists, or as the result of a default export
 * that is a function. If a module exports none of these but exactly one function without parameters, that function is called to
 * make the services. Other named functions may serve another purpose, so they are called only if `names` contains them.
 *
 * @param names The exports to use, of any of the modules. Default: as above.
 * @throws `INVALID_ARGUMENT` for a module that exports no service or cannot be loaded.
 */
export async function servicesIn(
  files: readonly string[],
  names: readonly string[] = [],
): Promise<readonly Service[]> {
  const found = new Set<Service>();
  const missing = new Set(names);
  for (const file of files) {
    const exported = new Map(Object.entries(await load(file)));
    for (const name of exported.keys()) missing.delete(name);
    const services = names.length === 0 ? await usual(file, exported) : await chosen(file, exported, names);
    for (const service of services) found.add(service);
  }
  const [lacking] = missing;
  if (lacking !== undefined) throw refused(`No module exports the name ${lacking}.`);
  return [...found];
}

type Exports = ReadonlyMap<string, unknown>;

async function chosen(
  file: string,
  exported: Exports,
  names: readonly string[],
): Promise<readonly Service[]> {
  const services: Service[] = [];
  for (const name of names) if (exported.has(name)) services.push(...(await madeBy(file, name, exported)));
  return services;
}

async function usual(file: string, exported: Exports): Promise<readonly Service[]> {
  const services = [...exported.values()].flatMap(inList).filter(isService);
  if (isMaker(exported.get("default"))) services.push(...(await madeBy(file, "default", exported)));
  if (services.length > 0) return services;
  const makers = [...exported]
    .filter(([, value]) => isMaker(value) && value.length === 0)
    .map(([name]) => name);
  const [only] = makers;
  if (only === undefined) throw refused(whyNone(file, exported));
  if (makers.length === 1) return madeBy(file, only, exported);
  const options = makers.map((name) => `--export ${name}`).join(" ");
  throw refused(
    `${file} exports no service, but several functions that may make one: choose with ${options}, or export the services.`,
  );
}

function whyNone(file: string, exported: Exports): string {
  const names = [...exported].filter(([, value]) => isMaker(value)).map(([name]) => name);
  if (names.length === 0)
    return `${file} exports no service: export one, a list of them, or a function that makes them.`;
  const which =
    names.length === 1 ? `Its function ${names[0]} has` : `Its functions ${names.join(", ")} have`;
  return `${file} exports no service. ${which} parameters: to call one without arguments, choose it with --export.`;
}

/** Returns an exported service or list of services, or those that an exported function makes. */
async function madeBy(file: string, name: string, exported: Exports): Promise<readonly Service[]> {
  const value = exported.get(name);
  let made: unknown = value;
  try {
    if (isMaker(value)) made = await value();
  } catch (cause) {
    throw refused(`${file}: the function ${name} failed: ${stackOf(cause)}`, cause);
  }
  const services = inList(made).filter(isService);
  if (services.length > 0) return services;
  const what = isMaker(value) ? `the function ${name} makes no service` : `${name} is no service`;
  throw refused(`${file}: ${what}.`);
}

async function load(file: string): Promise<object> {
  if (!existsSync(resolve(file))) throw refused(`There is no file ${file}.`);
  const { href } = pathToFileURL(resolve(file));
  try {
    return (await import(href)) as object;
  } catch (cause) {
    throw refused(await whyNotLoaded(file, href, cause), cause);
  }
}

async function whyNotLoaded(file: string, href: string, cause: unknown): Promise<string> {
  const code = (cause as { readonly code?: unknown } | null)?.code;
  if (code === "ERR_UNKNOWN_FILE_EXTENSION" && /^\.[cm]?tsx?$/.test(extname(file)))
    return `This Node.js (${process.versions.node}) reads no TypeScript: use Node 22.18 or later, or install tsx and set NODE_OPTIONS="--import tsx".`;
  // The message names the missing module; the stack would only show Node's loader.
  if (code === "ERR_MODULE_NOT_FOUND") return `${file} cannot be loaded: ${(cause as Error).message}.`;
  const reason = cause instanceof SyntaxError ? await describeSyntaxError(href, cause) : stackOf(cause);
  return `${file} cannot be loaded: ${reason}`;
}

function stackOf(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}

function refused(message: string, cause?: unknown): ConfluoError {
  return new ConfluoError("INVALID_ARGUMENT", message, { cause });
}

function inList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

function isMaker(value: unknown): value is () => unknown {
  return typeof value === "function" && !/^class\b/.test(Function.prototype.toString.call(value));
}

// Recognises services of any copy of the package.
function isService(value: unknown): value is Service {
  const { connect, shutdown, stats } = (value ?? {}) as Partial<Service>;
  return [connect, shutdown, stats].every((method) => typeof method === "function");
}
