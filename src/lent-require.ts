/**
 * A temporary global `require` of Node's own modules, while a CommonJS package is loaded. Node gives such a package a `require`
 * of its own. But when esbuild bundles the package into an ES module, the package uses the global one, and fails if there is
 * none. The modules between these two calls are evaluated synchronously, so no other code sees the global.
 */

const holder = globalThis as { require?: unknown };
let isLent = false;

/** Defines the global `require`, unless there is one. */
export function lendRequire(): void {
  if (isLent || holder.require !== undefined || typeof process.getBuiltinModule !== "function") return;
  isLent = Reflect.defineProperty(globalThis, "require", { value: requireBuiltin, configurable: true });
}

/** Removes the global `require`, if {@link lendRequire} defined it. */
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
