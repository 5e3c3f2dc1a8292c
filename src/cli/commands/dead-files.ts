/** `confluo dead export` and `confluo dead import`: dead letters in files, as one JSON value per line. */

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Command } from "commander";
import { ConfluoError, type DeadLetterRecord, isConfluoError } from "../../index.ts";
import { type BrokerFlags, brokerOf, limitsOf, withBrokerFlags } from "../broker-flags.ts";
import { checkExists } from "../dead-letters/letter-owners.ts";
import {
  chooserOf,
  LISTED,
  lettersOf,
  onlyTheFirst,
  type SelectionFlags,
  withSelection,
} from "../dead-letters/letters.ts";
import { EndedError, exitCodes } from "../exit-codes.ts";
import { jsonOf, type Terminal, writeJson, writeLine } from "../terminal.ts";

interface ExportFlags extends SelectionFlags {
  readonly output?: string;
}

interface ImportFlags extends BrokerFlags {
  readonly again?: true;
}

/** Default time limit; many letters take long. */
const MOVING_MS = 3_600_000;

/** Adds both commands to `confluo dead`. */
export function addFileCommands(dead: Command, terminal: Terminal): void {
  withSelection(withBrokerFlags(dead.command("export <service> [ids...]"), "1h"))
    .description(
      "write letters to a file, with all of their properties and bytes, one line of JSON each; the letters stay in their queue",
    )
    .option("-o, --output <file>", "the file, which must not exist yet (default: standard output)")
    .action((service: string, ids: string[], flags: ExportFlags) => exportTo(terminal, service, ids, flags));
  withBrokerFlags(dead.command("import <service> [file]"), "1h")
    .description(
      "put exported letters into the queue of a service, or of the orphans, from a file or standard input; letters that are already there are skipped, so you can repeat an import that was interrupted",
    )
    .option("--again", "also import letters that are already there")
    .action((service: string, file: string | undefined, flags: ImportFlags) =>
      importFrom(terminal, service, file, flags),
    );
}

async function exportTo(
  terminal: Terminal,
  service: string,
  ids: readonly string[],
  flags: ExportFlags,
): Promise<void> {
  const { stderr, stdout } = terminal;
  const isChosen = chooserOf(ids, flags);
  const broker = brokerOf(flags, terminal);
  await checkExists(broker, service, limitsOf(flags, terminal));
  const letters = lettersOf(broker, service);
  const there = await letters.count(limitsOf(flags, terminal));
  if (there > LISTED) writeLine(stderr, onlyTheFirst(service, there));
  const limits = { timeoutMs: MOVING_MS, ...limitsOf(flags, terminal) };
  const records = await letters.export(isChosen, limits);
  if (records.length === 0) {
    writeLine(
      stderr,
      `No letter of ${service} matches; confluo dead ls ${service} --letters lists them with their ids.`,
    );
    throw new EndedError(exitCodes.failed);
  }
  if (flags.output === undefined)
    for (const record of records) await written(stdout, `${jsonOf(record)}\n`, terminal.signal);
  else await writeFile(flags.output, records);
  const summary = `${records.length} exported${flags.output === undefined ? "" : ` to ${flags.output}`}.`;
  if (flags.output !== undefined && flags.json) writeJson(terminal, { exported: records.length });
  else if (!flags.json) writeLine(stderr, summary);
}

function written(stream: Terminal["stdout"], text: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  return new Promise((resolve) => {
    stream.write(text, () => resolve());
  });
}

// Flushes the file to disk before success is reported, because exported letters are often dropped next.
async function writeFile(path: string, records: readonly DeadLetterRecord[]): Promise<void> {
  const file = await open(path, "wx").catch((cause: NodeJS.ErrnoException) => {
    const reason = cause.code === "EEXIST" ? "it exists already" : cause.message;
    throw new ConfluoError("INVALID_ARGUMENT", `The file ${path} cannot be written: ${reason}.`, { cause });
  });
  try {
    for (const record of records) await file.write(`${jsonOf(record)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function importFrom(
  terminal: Terminal,
  service: string,
  path: string | undefined,
  flags: ImportFlags,
): Promise<void> {
  const broker = brokerOf(flags, terminal);
  const records = await readRecords(path, terminal);
  await checkExists(broker, service, limitsOf(flags, terminal));
  const limits = { timeoutMs: MOVING_MS, ...limitsOf(flags, terminal) };
  try {
    const again = flags.again === true;
    const { imported, present } = await lettersOf(broker, service).import(records, { ...limits, again });
    if (flags.json) writeJson(terminal, { imported, present });
    else
      writeLine(
        terminal.stdout,
        `${imported} imported, ${present} skipped because the queue already contains them.`,
      );
  } catch (error) {
    if (!isConfluoError(error)) throw error;
    const { imported, present } = (error.data ?? {}) as { readonly imported?: number; present?: number };
    if (imported !== undefined)
      writeLine(
        terminal.stderr,
        `At least ${imported} of ${records.length} were imported before the error, ${present ?? 0} were already in the queue. Import the same file again: letters that the queue contains are skipped.`,
      );
    throw error;
  }
}

async function readRecords(
  path: string | undefined,
  { stdin, signal }: Terminal,
): Promise<DeadLetterRecord[]> {
  const input: Readable = path === undefined || path === "-" ? stdin : createReadStream(path);
  const stop = (): void => void input.destroy(new Error("interrupted"));
  signal.addEventListener("abort", stop, { once: true });
  const records: DeadLetterRecord[] = [];
  let number = 0;
  try {
    // Line breaks inside a letter are escaped, so each line is one letter.
    for await (const line of linesIn(input)) {
      number += 1;
      if (line.trim() === "") continue;
      records.push(JSON.parse(line) as DeadLetterRecord);
    }
    return records;
  } catch (cause) {
    if (signal.aborted) throw cause;
    const reason = (cause as Error).message;
    const what = cause instanceof SyntaxError ? `Line ${number} is not JSON` : "The letters cannot be read";
    throw new ConfluoError("INVALID_ARGUMENT", `${what}: ${reason}.`, { cause });
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

async function* linesIn(input: Readable): AsyncGenerator<string> {
  let failure: unknown;
  const reader = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  input.once("error", (error) => {
    failure = error;
    reader.close();
  });
  yield* reader;
  if (failure !== undefined) throw failure;
}
