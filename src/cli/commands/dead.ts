/** `confluo dead`: lists, shows, replays, exports, imports and drops dead letters. */

import type { Command } from "commander";
import { type DeadLetter, type DeadLetters, isConfluoError } from "../../index.ts";
import { bodyAsJson, bytesForHumans } from "../body.ts";
import {
  type BrokerFlags,
  brokerOf,
  type CommandSetup,
  countOf,
  limitsOf,
  notSeen,
  servicesToLookFor,
  withBrokerFlags,
} from "../broker-flags.ts";
import { confirm } from "../confirm.ts";
import {
  checkExists,
  DEAD,
  existing,
  namesOf,
  noSuchService,
  ORPHANS,
  servicesWithLetters,
} from "../dead-letters/letter-owners.ts";
import {
  chooserOf,
  errorOf,
  LISTED,
  lettersOf,
  onlyTheFirst,
  type SelectionFlags,
  withSelection,
} from "../dead-letters/letters.ts";
import { EndedError, exitCodes } from "../exit-codes.ts";
import { lookedAt } from "../services/absent.ts";
import { knownServicesAt } from "../state/kept-names.ts";
import { cut, tableOf } from "../table.ts";
import { paintOf, type Terminal, writeJson, writeLine } from "../terminal.ts";
import { addFileCommands } from "./dead-files.ts";

interface ListFlags extends BrokerFlags {
  readonly letters?: true;
}

interface MoveFlags extends SelectionFlags {
  readonly yes?: true;
}

/** Default time limit; a million letters take long. An interruption loses no letter. */
const MOVING_MS = 3_600_000;

export const deadCommand: CommandSetup = (program, terminal) => {
  const dead = program
    .command("dead")
    .description("list, show, replay, drop, export and import dead letters: messages that a service gave up");
  withBrokerFlags(
    dead
      .command("ls [services...]")
      .description(
        `count dead letters by error and path, or list each with --letters; "${ORPHANS}" means letters whose queue is gone, "${ORPHANS}${DEAD}" letters of a service named ${ORPHANS}. Default: letters of all services that are known, as with ls`,
      )
      .option("--letters", "list each letter on a line, with its id"),
  ).action((services: string[], flags: ListFlags) => list(terminal, services, flags));
  withBrokerFlags(
    dead
      .command("show <service> [id]")
      .description("show letters with their failure details and body: the letter with that id, or the oldest")
      .option("-l, --limit <number>", "number of letters (default: 1)", countOf),
  ).action((service: string, id: string | undefined, flags: BrokerFlags & { readonly limit?: number }) =>
    show(terminal, service, id, flags),
  );
  selecting(dead.command("replay <service> [ids...]"))
    .description(
      "send letters back to be handled again; a letter is removed when the broker has confirmed its copy",
    )
    .action((service: string, ids: string[], flags: MoveFlags) =>
      move(terminal, "replay", { service, ids, flags }),
    );
  selecting(dead.command("drop <service> [ids...]"))
    .description("remove letters permanently")
    .action((service: string, ids: string[], flags: MoveFlags) =>
      move(terminal, "drop", { service, ids, flags }),
    );
  addFileCommands(dead, terminal);
};

function selecting(command: Command): Command {
  return withSelection(withBrokerFlags(command, "1h")).option("-y, --yes", "do not ask for confirmation");
}

/** Letters of one service with the same error and path. */
interface Group {
  readonly service: string;
  readonly error: string;
  readonly path: string;
  readonly count: number;
  readonly oldest: string | undefined;
  readonly newest: string | undefined;
  /** Error message of the newest letter. */
  readonly message: string;
}

async function list(terminal: Terminal, named: readonly string[], flags: ListFlags): Promise<void> {
  const broker = brokerOf(flags, terminal);
  const limits = limitsOf(flags, terminal);
  const known = knownServicesAt(broker, terminal);
  const { services, unknown, isBlind } =
    named.length > 0
      ? await existing(broker, named, limits)
      : await servicesWithLetters(broker, known, { services: servicesToLookFor(terminal), ...limits });
  if (named.length > 0) known.learnNames(namesOf(services));
  const groups: Group[] = [];
  const each: ListedLetter[] = [];
  const seen: string[] = [];
  for (const service of services) {
    const letters = lettersOf(broker, service);
    const count = await letters.count(limits).catch((error: unknown) => {
      // If no service was named, a queue without access does not prevent the listing of the others.
      if (named.length > 0 || !isConfluoError(error, "ACCESS_REFUSED")) throw error;
      writeLine(terminal.stderr, `${service} was skipped. ${error.message}`);
      return undefined;
    });
    if (count === undefined) continue;
    seen.push(service);
    if (count > LISTED) writeLine(terminal.stderr, onlyTheFirst(service, count));
    if (count === 0) continue;
    const found = await letters.list({ ...limits, limit: LISTED });
    if (flags.letters) each.push(...found.map((letter) => lineOf(service, letter)));
    else groups.push(...grouped(service, found));
  }
  if (services.length > 0) {
    if (flags.json) writeJson(terminal, flags.letters ? each : groups);
    else if (each.length > 0) printLetters(terminal, each);
    else if (groups.length > 0) printGroups(terminal, groups);
    else if (seen.length === 0) writeLine(terminal.stdout, "No dead letters could be read.");
    else writeLine(terminal.stdout, isBlind ? BLIND : `No dead letters of ${lookedAt(seen)}.`);
    if (named.length === 0 && !flags.json)
      writeLine(terminal.stderr, paintOf(terminal).faint(notSeen(known)));
  }
  const [first] = unknown;
  if (first !== undefined) throw noSuchService(lookedAt(unknown));
}

// Orphans belong to no service: that there are none says nothing about services that nobody knows here.
const BLIND =
  "There are no orphans. No service is known here, so no dead letters of services were looked for.";

/** A letter on a line of its own. */
interface ListedLetter {
  readonly service: string;
  readonly id: string;
  readonly failedAt: string | undefined;
  readonly error: string;
  readonly path: string;
  readonly message: string;
}

function lineOf(service: string, letter: DeadLetter): ListedLetter {
  const { id, path, failedAt, error } = letter;
  const message = error?.message ?? "";
  return { service, id, failedAt: failedAt?.toISOString(), error: errorOf(letter), path, message };
}

function printLetters(terminal: Terminal, letters: readonly ListedLetter[]): void {
  const paint = paintOf(terminal);
  const rows = letters.map(({ service, id, failedAt, error, path, message }) => [
    paint.strong(service),
    id,
    failedAt ?? "–",
    paint.bad(error),
    path,
    paint.faint(cut(message, 60)),
  ]);
  const titles = ["SERVICE", "ID", "GIVEN UP", "ERROR", "PATH", "MESSAGE"];
  const columns = titles.map((title) => ({ title }));
  for (const line of tableOf(columns, rows)) writeLine(terminal.stdout, line);
}

function printGroups(terminal: Terminal, groups: readonly Group[]): void {
  const paint = paintOf(terminal);
  const rows = groups.map(({ service, count, error, path, oldest, newest, message }) => [
    paint.strong(service),
    String(count),
    paint.bad(error),
    path,
    oldest ?? "–",
    newest ?? "–",
    paint.faint(cut(message, 60)),
  ]);
  const columns = ["SERVICE", "LETTERS", "ERROR", "PATH", "OLDEST", "NEWEST", "MESSAGE"].map((title) => ({
    title,
    align: title === "LETTERS" ? ("right" as const) : ("left" as const),
  }));
  for (const line of tableOf(columns, rows)) writeLine(terminal.stdout, line);
}

function grouped(service: string, letters: readonly DeadLetter[]): readonly Group[] {
  const groups = new Map<string, DeadLetter[]>();
  for (const letter of letters) {
    const key = `${errorOf(letter)} ${letter.path}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [letter]);
    else group.push(letter);
  }
  return [...groups.values()].map((group) => {
    const [first] = group as [DeadLetter];
    const times = group.flatMap(({ failedAt }) => failedAt ?? []).sort((a, b) => a.getTime() - b.getTime());
    const message = group.at(-1)?.error?.message ?? "";
    const [oldest, newest] = [times[0]?.toISOString(), times.at(-1)?.toISOString()];
    return { service, error: errorOf(first), path: first.path, count: group.length, oldest, newest, message };
  });
}

async function show(
  terminal: Terminal,
  service: string,
  id: string | undefined,
  flags: BrokerFlags & { readonly limit?: number },
): Promise<void> {
  const broker = brokerOf(flags, terminal);
  const limits = limitsOf(flags, terminal);
  await checkExists(broker, service, limits);
  const letters = lettersOf(broker, service);
  const found =
    id === undefined
      ? await letters.list({ ...limits, limit: Math.min(flags.limit ?? 1, LISTED) })
      : [await letters.show(id, limits)].flatMap((letter) => letter ?? []);
  if (found.length === 0) {
    const what = id === undefined ? "no dead letters" : `no dead letter ${id}`;
    writeLine(terminal.stderr, `${service} has ${what}.`);
    throw new EndedError(exitCodes.failed);
  }
  for (const letter of found) {
    if (flags.json) writeJson(terminal, machineForm(letter));
    else for (const line of story(letter, terminal)) writeLine(terminal.stdout, line);
  }
}

function machineForm(letter: DeadLetter): object {
  return { ...letter, body: bodyAsJson(letter.body) };
}

function story(letter: DeadLetter, terminal: Terminal): readonly string[] {
  const {
    id,
    kind,
    path,
    query,
    from,
    subscription,
    attempts,
    error,
    reason,
    queue,
    instance,
    headers,
    body,
  } = letter;
  const paint = paintOf(terminal);
  const when = (at: Date | undefined): string => at?.toISOString() ?? "unknown";
  const named: [string, string | undefined][] = [
    ["id", id],
    [kind, query === "" ? path : `${path}?${query}`],
    ["from", from || undefined],
    ["for", subscription],
    ["tries", String(attempts)],
    ["first failed", when(letter.firstFailedAt)],
    ["given up", when(letter.failedAt)],
    ["by", instance || undefined],
    ["came from", queue || undefined],
    ["broker says", reason],
    ["error", error === undefined ? undefined : paint.bad(`${error.code}: ${error.message}`)],
    ["encoding", letter.contentEncoding],
    ["headers", Object.keys(headers).length === 0 ? undefined : JSON.stringify(headers)],
  ];
  return [
    ...named.flatMap(([name, value]) =>
      value === undefined ? [] : [`${paint.faint(name.padEnd(13))}${value}`],
    ),
    ...(error === undefined || error.stack === "" ? [] : [paint.faint(error.stack)]),
    paint.faint("body"),
    body instanceof Uint8Array ? bytesForHumans(body) : (JSON.stringify(body, undefined, 2) ?? "(empty)"),
    "",
  ];
}

interface Asked {
  readonly service: string;
  readonly ids: readonly string[];
  readonly flags: MoveFlags;
}

async function move(
  terminal: Terminal,
  what: "replay" | "drop",
  { service, ids, flags }: Asked,
): Promise<void> {
  const { stderr } = terminal;
  const broker = brokerOf(flags, terminal);
  const isChosen = chooserOf(ids, flags);
  await checkExists(broker, service, limitsOf(flags, terminal));
  const letters = lettersOf(broker, service);
  const there = await letters.count(limitsOf(flags, terminal));
  const chosen =
    flags.all && !flags.error && !flags.path && there > LISTED
      ? there
      : await chosenOf(letters, isChosen, { flags, terminal });
  if (there > LISTED && !flags.all) writeLine(stderr, onlyTheFirst(service, there));
  if (chosen === 0) {
    writeLine(
      stderr,
      `No letter of ${service} matches; confluo dead ls ${service} --letters lists them with their ids.`,
    );
    throw new EndedError(exitCodes.failed);
  }
  if (!flags.yes)
    await confirm(
      terminal,
      `${what === "replay" ? "Replay" : "Drop"} ${chosen} of ${there} letters of ${service}?`,
    );
  const progress = new Progress(terminal, chosen);
  const limits = { timeoutMs: MOVING_MS, ...limitsOf(flags, terminal) };
  const select = (letter: DeadLetter): boolean => {
    const isMeant = isChosen(letter);
    if (isMeant) progress.step();
    return isMeant;
  };
  const done = what === "replay" ? "replayed" : "dropped";
  try {
    const count =
      what === "replay" ? await letters.replay(select, limits) : await letters.discard(select, limits);
    progress.end();
    if (flags.json) writeJson(terminal, { [done]: count });
    else writeLine(terminal.stdout, `${count} ${done}.`);
  } catch (error) {
    progress.end();
    if (!isConfluoError(error)) throw error;
    const data = error.data as { readonly replayed?: number; readonly discarded?: number } | undefined;
    const count = data?.replayed ?? data?.discarded ?? 0;
    // A replay that was still under way may have succeeded later.
    writeLine(
      stderr,
      `At least ${count} of ${chosen} were ${done} before the error; the others stay in the queue.`,
    );
    throw error;
  }
}

async function chosenOf(
  letters: DeadLetters,
  isChosen: (letter: DeadLetter) => boolean,
  { flags, terminal }: { readonly flags: MoveFlags; readonly terminal: Terminal },
): Promise<number> {
  return (await letters.list({ ...limitsOf(flags, terminal), limit: LISTED })).filter(isChosen).length;
}

class Progress {
  readonly #terminal: Terminal;
  readonly #total: number;
  #count = 0;
  #shownAt = 0;

  constructor(terminal: Terminal, total: number) {
    this.#terminal = terminal;
    this.#total = total;
  }

  step(): void {
    this.#count += 1;
    const now = performance.now();
    if (!this.#terminal.stderr.isTTY || now - this.#shownAt < 100) return;
    this.#shownAt = now;
    const share = Math.min(1, this.#count / this.#total);
    const bar = "█".repeat(Math.round(share * 30)).padEnd(30, "░");
    this.#terminal.stderr.write(`\r${bar} ${this.#count} of ${this.#total}`);
  }

  end(): void {
    if (this.#shownAt > 0) this.#terminal.stderr.write("\r\u001b[K");
  }
}
