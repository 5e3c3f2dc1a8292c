/** Reasons, fit to be shown and kept. */

import { hostname } from "node:os";

const MOST_CHARACTERS = 300;

/** One line, without a stack, without what says whose machine it was: folders, addresses, its name. */
export function describeFailure(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const line = text
    .split("\n")
    .filter((line) => !/^\s+at /.test(line))
    .map((line) => line.trim())
    .filter((line) => line !== "" && !/^(\^+|Node\.js v[\d.]+)$/.test(line))
    .join(" ")
    .replaceAll(/\b(?:file|node|amqps?|https?):\/\/[^\s'")]+/g, (address) =>
      address.startsWith("file:") ? lastPartOf(address) : "(an address)",
    )
    .replaceAll(/(?<![\w.])(?:\/[\w.@+-]+){2,}/g, lastPartOf)
    .replaceAll(hostname(), "(this machine)");
  return line.length > MOST_CHARACTERS ? `${line.slice(0, MOST_CHARACTERS - 1)}…` : line;
}

function lastPartOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
