/** The package as users get it: packed, installed into an empty project, used from there. */

import { execFile } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "..", "..");

/** Programs and tests as users write them. */
export const consumers = join(root, "test", "consumers");

/** What npm packed. */
export interface Packed {
  readonly tarball: string;
  /** Paths inside of the package. */
  readonly files: readonly string[];
}

/** Packs what was built into a folder; it is built first where that has never been done. */
export async function packBuilt(folder: string): Promise<Packed> {
  if (!existsSync(join(root, "dist", "index.js"))) await runNode(root, join(root, "scripts", "build.mjs"));
  return pack(folder, "--ignore-scripts");
}

async function pack(folder: string, ...options: readonly string[]): Promise<Packed> {
  const { out } = await run(root, "npm", ["pack", "--json", "--pack-destination", folder, ...options]);
  const [{ filename, files }] = JSON.parse(out);
  return {
    tarball: join(folder, filename),
    files: files.map((file: { readonly path: string }) => file.path),
  };
}

/** Makes a project that has nothing but the package; the tarball lies beside its folder. */
export async function makeConsumer(folder: string): Promise<Packed> {
  if (!existsSync(join(root, "dist", "index.js"))) await runNode(root, join(root, "scripts", "build.mjs"));
  const packed = await pack(dirname(folder));
  mkdirSync(folder);
  const manifest = { name: basename(folder), private: true, type: "module" };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  const options = ["--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"];
  await run(folder, "npm", ["install", ...options, packed.tarball]);
  return packed;
}

/** What a program printed. */
export interface Printed {
  readonly out: string;
  readonly err: string;
}

/** How a program is run, where it matters. */
export interface RunOptions {
  /** Beside this process's variables, less those that would lead a program away from the consumer. */
  readonly env?: Readonly<Record<string, string>>;
  /** After this it is killed. Default: 150,000. */
  readonly timeoutMs?: number;
}

/** Resolves with what was printed; rejects with it, if the program fails or does not end in time. */
export async function run(
  cwd: string,
  program: string,
  args: readonly string[],
  { env = {}, timeoutMs = 150_000 }: RunOptions = {},
): Promise<Printed> {
  const limit = { timeout: timeoutMs, killSignal: "SIGKILL" } as const;
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, {
      cwd,
      env: { ...inheritedEnv(), ...env },
      ...limit,
    });
    return { out: stdout, err: stderr };
  } catch (error) {
    const { stdout = "", stderr = "", killed, message } = error as Failure;
    const what = killed === true ? `did not end within ${timeoutMs} ms and was killed` : "failed";
    const printed = stdout === "" && stderr === "" ? message : `${stdout}${stderr}`;
    // The line of a bundle that threw is printed, too, and may be the whole bundle.
    throw new Error(`${program} ${args.join(" ")} ${what}:\n${printed.slice(-10_000)}`);
  }
}

/** Resolves with what went to standard output. */
export async function runNode(cwd: string, ...args: readonly string[]): Promise<string> {
  return (await run(cwd, process.execPath, args)).out;
}

interface Failure extends Error {
  readonly stdout?: string;
  readonly stderr?: string;
  readonly killed?: boolean;
}

/** What npm and vitest set for their own children would lead npm to this project instead of the consumer's. */
export function inheritedEnv(): NodeJS.ProcessEnv {
  const isOthers = /^(npm_|vitest|node_env$|node_options$|force_color$|confluo_)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isOthers.test(name)));
}
