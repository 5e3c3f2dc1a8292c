/** Asks for confirmation before an action that cannot be undone. */

import { createInterface } from "node:readline/promises";
import { ConfluoError } from "../index.ts";
import { EndedError, exitCodes } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Asks a question on the terminal, and ends the command unless the answer is yes.
 *
 * @throws `INVALID_ARGUMENT` without a terminal.
 */
export async function confirm({ stdin, stdout, stderr, signal }: Terminal, question: string): Promise<void> {
  if (!stdin.isTTY || !stdout.isTTY)
    throw new ConfluoError("INVALID_ARGUMENT", `${question} Without a terminal to ask, use --yes.`);
  const reader = createInterface({ input: stdin, output: stderr });
  try {
    const answer = await reader.question(`${question} [y/N] `, { signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new EndedError(exitCodes.failed);
  } finally {
    reader.close();
  }
}
