/**
 * A `require` of Node's own modules, for as long as a package in CommonJS is loaded. Node gives such a package one of its
 * own. esbuild, which puts it into an ES module, does not: there it asks the global one, and fails if there is none. The
 * modules between two of these calls are evaluated without a pause, so no other code sees what is lent.
 */

const holder = globalThis as { require?: unknown };
let isLent = false;

/** Lends it, unless there is one. */
export function lendRequire(): void {
  if (isLent || holder.require !== undefined || typeof process.getBuiltinModule !== "function") return;
  isLent = Reflect.defineProperty(globalThis, "require", { value: requireBuiltin, configurable: true });
}

/** Takes back what was lent. */
export function takeBackRequire(): void {
  if (isLent) Reflect.deleteProperty(globalThis, "require");
  isLent = false;
}

function requireBuiltin(name: string): object {
  const found = process.getBuiltinModule(name);
  if (found === undefined) throw new Error(`Cannot find module '${name}': it is none of Node's own.`);
  return found;
}

lendRequire();
