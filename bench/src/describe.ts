/** What the variants say of themselves. */

import type { Launch } from "./launch.ts";
import type { Description } from "./messages.ts";
import { Program } from "./program.ts";

/** By name, each loaded in a process of its own. One that cannot be loaded is missing: measuring it says why. */
export async function describeVariants(
  names: readonly string[],
  launch: Launch,
): Promise<ReadonlyMap<string, Description>> {
  const found = await Promise.all(names.map((name) => describe(name, launch)));
  return new Map(found.flatMap((description, i) => (description ? [[names[i] as string, description]] : [])));
}

async function describe(name: string, launch: Launch): Promise<Description | undefined> {
  const program = new Program(`description of ${name}`, launch);
  try {
    return (await program.ask({ kind: "describe", variant: name }, "description")).description;
  } catch {
    return undefined;
  } finally {
    await program.end();
  }
}
