/** Programs that meet without a broker: each handler listens on a port of its own, which its requester has to learn. */

import { readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Case } from "../../case.ts";
import { isPlain, type Surroundings } from "../variant.ts";

/** Returns whether one handler is enough: more of them would need a balancer in front. */
export function isOneHandler(measured: Case): boolean {
  return isPlain(measured) && measured.services === 1 && measured.instances === 1;
}

/** Leaves the port of a handler to its requester. */
export async function sharePort({ name }: Surroundings, port: number): Promise<void> {
  await writeFile(fileOf(name), String(port));
}

/** Returns the port of the handler, which has started before its requester. */
export async function takePort({ name }: Surroundings): Promise<number> {
  const file = fileOf(name);
  const port = Number(await readFile(file, "utf8"));
  await rm(file);
  return port;
}

function fileOf(name: string): string {
  return join(tmpdir(), `confluo-bench-${name}.port`);
}
