/** An operator's access to the dead letters of a service or to the orphans of a namespace. */

import { AsyncResource } from "node:async_hooks";
import type { WaitLimits } from "../async/timed-promise.ts";
import { invalidArgument, show } from "../errors.ts";
import { checkOptions, type OptionNames, readWaitOptions, type WaitOptions } from "../options/checks.ts";
import type { AmqpClient, AmqpDelivery } from "../transport/amqp-client.ts";
import { withClient } from "../transport/short-session.ts";
import { type DeadLetter, type DeadLetterQueue, type FoundLetter, readLetter } from "./dead-letter.ts";
import { exactCopy, isCopyOf } from "./exact-copy.ts";
import { type ImportedDeadLetters, LetterImport } from "./letter-import.ts";
import { type DeadLetterRecord, recordOf } from "./letter-record.ts";
import { publishFailure, withCount } from "./publish-failure.ts";
import {
  type BrowseRequest,
  browseQueue,
  type Decision,
  MOST_HELD,
  MOST_PER_CONSUMER,
} from "./queue-browser.ts";

/** Options of {@link DeadLetters.list}. */
export interface ListDeadLettersOptions extends WaitOptions {
  /** Largest number of letters, from 1 to 20,000. Default: 100. */
  readonly limit?: number | undefined;
}

/**
 * A selection of letters: all of them, those with one of these ids, or those for which a function returns `true`. The function
 * must be synchronous.
 */
export type DeadLetterSelection = "all" | readonly string[] | ((letter: DeadLetter) => boolean);

/** Options of {@link DeadLetters.import}. */
export interface ImportDeadLettersOptions extends WaitOptions {
  /** True to import a letter even if the queue already contains it. Default: `false`. */
  readonly again?: boolean | undefined;
}

/** Access to the broker, and the queue. */
export interface DeadLettersDependencies extends DeadLetterQueue {
  open(signal: AbortSignal): Promise<AmqpClient>;
  newId(): string;
}

const LETTERS_MS = 20_000;
const LIST_LIMIT = 100;
// Largest number of copies that await their confirms at a time.
const UNDER_WAY = 256;

const listOptions: OptionNames<ListDeadLettersOptions> = { timeoutMs: true, signal: true, limit: true };
const importOptions: OptionNames<ImportDeadLettersOptions> = { timeoutMs: true, signal: true, again: true };

/**
 * Dead letters: messages that a service gave up, or messages that returned to a deleted queue. Every method opens a connection,
 * closes it at the end, and takes `timeoutMs` (default: 20,000) and `signal`.
 *
 * While a method looks at letters, they are unacknowledged: other callers see only the remaining letters, and `count` excludes
 * them. Afterwards all of them return to their places. A letter that has already returned once before is republished as a copy.
 * Otherwise a `delivery-limit` in an operator's policy would delete letters that are looked at repeatedly. If the connection
 * breaks meanwhile, such a letter may exist twice. In a queue of more than 2,000 letters, copies move behind the others.
 * `show`, `export`, and `replay` and `discard` with ids or a function, look through at most the oldest 20,000 letters that
 * stay.
 *
 * All methods reject with `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `CONNECTION_LOST`, `TIMEOUT`, `CANCELLED`, `UNAVAILABLE` if
 * the queue is deleted meanwhile, and `INVALID_ARGUMENT`. An unknown service has no letters.
 *
 * @example
 * const letters = broker.deadLetters("orders");
 * for (const { id, path, error } of await letters.list()) console.log(id, path, error?.message);
 * await letters.replay((letter) => letter.error?.code === "TIMEOUT");
 */
export class DeadLetters {
  readonly #parts: DeadLettersDependencies;

  /** @internal Called by `Broker.deadLetters` and `Broker.orphans`. */
  constructor(parts: DeadLettersDependencies) {
    this.#parts = parts;
  }

  /** Returns the number of letters, without those that another caller is looking at. */
  async count(options?: WaitOptions): Promise<number> {
    const limits = readWaitOptions("count", options, LETTERS_MS);
    return this.#onClient(limits, async (client) => {
      return (await client.inspectQueue(this.#parts.queue))?.messages ?? 0;
    });
  }

  /** Returns letters, the oldest first. They stay in the queue. */
  async list(options?: ListDeadLettersOptions): Promise<readonly DeadLetter[]> {
    const { limit = LIST_LIMIT, ...waiting } = checkOptions("list", options, listOptions);
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > MOST_HELD)
      throw invalidArgument("limit", `a whole number of letters from 1 to ${MOST_HELD}`, limit);
    const letters: DeadLetter[] = [];
    const limits = readWaitOptions("list", waiting, LETTERS_MS);
    const prefetch = Math.min(limit, MOST_PER_CONSUMER);
    await this.#walk(limits, prefetch, ({ letter, redelivered }) => {
      if (letters.length < limit) letters.push(letter);
      return letters.length < limit ? "stays" : stopping(redelivered);
    });
    return letters;
  }

  /** Returns the oldest letter with an id; `undefined` if there is none. It stays in the queue. */
  async show(id: string, options?: WaitOptions): Promise<DeadLetter | undefined> {
    checkId(id);
    const limits = readWaitOptions("show", options, LETTERS_MS);
    let found: DeadLetter | undefined;
    await this.#walk(limits, MOST_PER_CONSUMER, ({ letter, redelivered }) => {
      if (letter.id === id) found ??= letter;
      return found === undefined ? "stays" : stopping(redelivered);
    });
    return found;
  }

  /**
   * Sends letters back to be handled again: with the same message id and as a first try. An event goes only to the subscription
   * that failed; a call becomes a one-way command. A letter is removed once the broker has confirmed its copy, so a crash in
   * between may duplicate a letter but never lose it. Letters without a known path stay and are not counted. Letters that
   * arrive during the replay, perhaps because they failed again, are not replayed.
   *
   * @returns the number of letters that were sent back.
   * @throws also `NO_SUCH_SERVICE` if the inbox does not exist, `UNAVAILABLE` and `PAYLOAD_TOO_LARGE` if the broker refuses a
   *   copy, and any error that the selecting function throws. The letter then stays, and so do all letters that were not
   *   reached. The error's `data.replayed` is the number of letters sent back so far; after a `TIMEOUT` or `CANCELLED`, copies
   *   that were under way may still be added.
   */
  async replay(selection: DeadLetterSelection, options?: WaitOptions): Promise<number> {
    const { newId } = this.#parts;
    return this.#act("replay", selection, options, ({ letter, target, copy }, client) => {
      const message = copy(newId, client.mostPropertyBytes);
      if (message === undefined) return undefined;
      return new Promise((resolve, reject) => {
        client.publish({ exchange: "", key: target }, message, (failure, why) => {
          if (failure === undefined) resolve();
          else {
            const outcome = `The letter ${show(letter.id)} stays`;
            reject(publishFailure(failure, { outcome, queue: target, why }));
          }
        });
      });
    });
  }

  /**
   * Removes letters permanently.
   *
   * @returns the number of letters that were removed.
   * @throws also any error that the selecting function throws. The error's `data.discarded` is the number removed so far.
   */
  async discard(selection: DeadLetterSelection, options?: WaitOptions): Promise<number> {
    return this.#act("discard", selection, options, () => Promise.resolve());
  }

  /**
   * Returns letters as JSON values with all of their properties and bytes. They stay in the queue. 20,000 letters at most.
   *
   * @example for (const letter of await letters.export("all")) file.write(`${JSON.stringify(letter)}\n`);
   * @throws also `MALFORMED_MESSAGE` for a letter whose headers cannot be read, and any error that the selecting function
   *   throws.
   */
  async export(selection: DeadLetterSelection, options?: WaitOptions): Promise<readonly DeadLetterRecord[]> {
    const isChosen = chooser(selection);
    const records: DeadLetterRecord[] = [];
    const limits = readWaitOptions("export", options, LETTERS_MS);
    if (Array.isArray(selection) && selection.length === 0) return [];
    await this.#walk(limits, MOST_PER_CONSUMER, ({ letter }, _wire, delivery) => {
      if (isChosen(letter)) records.push(recordOf(delivery, letter.id));
      return "stays";
    });
    return records;
  }

  /**
   * Publishes exported letters to the queue, at this broker or another. A letter counts as imported when the broker has
   * confirmed it. Unless `again` is set, letters that are already among the oldest 20,000 in the queue are skipped. So an
   * interrupted import can be repeated, and then adds only the missing letters.
   *
   * @throws also `INVALID_ARGUMENT` for a value that is not an exported letter, before any letter is imported;
   *   `NO_SUCH_SERVICE` if the queue does not exist, `UNAVAILABLE` and `PAYLOAD_TOO_LARGE` if the broker refuses a letter. The
   *   error's `data` says how many letters were `imported` and `present` by then; a few more may have been imported.
   */
  async import(
    letters: Iterable<DeadLetterRecord>,
    options?: ImportDeadLettersOptions,
  ): Promise<ImportedDeadLetters> {
    const { again = false, ...waiting } = checkOptions("import", options, importOptions);
    if (typeof again !== "boolean") throw invalidArgument("again", "true or false", again);
    const limits = readWaitOptions("import", waiting, LETTERS_MS);
    const { queue, target, namespace } = this.#parts;
    const exchange = target === undefined ? namespace.orphans : undefined;
    const work = new LetterImport(letters, { queue, exchange });
    const note = (delivery: AmqpDelivery): Decision => {
      work.note(delivery);
      return "stays";
    };
    try {
      await this.#onClient(limits, async (client, signal) => {
        if (!again) await browseQueue(client, this.#plan(MOST_PER_CONSUMER, note), signal);
        await work.run(client, signal);
      });
      return work.done;
    } catch (error) {
      throw withCount(error, work.done);
    }
  }

  async #act(
    what: "replay" | "discard",
    selection: DeadLetterSelection,
    options: WaitOptions | undefined,
    act: (found: FoundLetter, client: AmqpClient) => Promise<void> | undefined,
  ): Promise<number> {
    const isChosen = chooser(selection);
    const limits = readWaitOptions(what, options, LETTERS_MS);
    if (Array.isArray(selection) && selection.length === 0) return 0;
    let count = 0;
    const visit = (found: FoundLetter, client: AmqpClient): Decision => {
      if (!isChosen(found.letter)) return "stays";
      const work = act(found, client);
      if (work === undefined) return "stays";
      return work.then(() => {
        count += 1;
      });
    };
    try {
      await this.#walk(limits, UNDER_WAY, visit);
      return count;
    } catch (error) {
      throw withCount(error, what === "replay" ? { replayed: count } : { discarded: count });
    }
  }

  #walk(
    limits: WaitLimits,
    prefetch: number,
    visit: (found: FoundLetter, client: AmqpClient, delivery: AmqpDelivery) => Decision,
  ): Promise<void> {
    return this.#onClient(limits, (client, signal) => {
      const look = (delivery: AmqpDelivery): Decision =>
        visit(readLetter(delivery, this.#parts), client, delivery);
      return browseQueue(client, this.#plan(prefetch, look), signal);
    });
  }

  #plan(prefetch: number, visit: BrowseRequest["visit"]): BrowseRequest {
    const { queue, target, namespace, newId } = this.#parts;
    const look = newId();
    return {
      queue,
      prefetch,
      visit,
      copy: (delivery) => {
        const message = exactCopy(delivery, look);
        if (message === undefined) return undefined;
        // The key of an orphan names the queue that it was meant for.
        if (target === undefined)
          return { route: { exchange: namespace.orphans, key: delivery.key }, message };
        // Not mandatory: if the queue was deleted, its letters are gone anyway. Mandatory copies of one message would also wait
        // for each other, which would change their order.
        const { mandatory: _, ...properties } = message.properties;
        return { route: { exchange: "", key: queue }, message: { ...message, properties } };
      },
      isCopy: (delivery) => isCopyOf(delivery, look),
    };
  }

  #onClient<Result>(
    limits: WaitLimits,
    work: (client: AmqpClient, signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const { queue, open } = this.#parts;
    return withClient({ ...limits, what: `the letters in ${queue}` }, open, work);
  }
}

// The broker delivers letters that were looked at before first, and returns them behind the others. If only some of these were
// read, the oldest letter would be the last one the next time. So the walk goes on until it has read all of them.
function stopping(redelivered: boolean): Decision {
  return redelivered ? "stays" : "enough";
}

function checkId(id: unknown): void {
  if (typeof id !== "string" || id === "") throw invalidArgument("A letter's id", "a non-empty string", id);
}

function chooser(selection: DeadLetterSelection): (letter: DeadLetter) => boolean {
  if (selection === "all") return () => true;
  if (Array.isArray(selection)) {
    for (const id of selection) checkId(id);
    const ids = new Set<string>(selection);
    return ({ id }) => ids.has(id);
  }
  if (typeof selection !== "function") {
    throw invalidArgument("A selection of letters", '"all", a list of ids or a function', selection);
  }
  // The function runs in the asynchronous context of the caller that passed it, not in that of the connection.
  const select = AsyncResource.bind(selection);
  return (letter) => {
    const chosen: unknown = select(letter);
    // A promise would count as true, whatever value it resolves with.
    if (typeof chosen === "boolean") return chosen;
    throw invalidArgument("What a selection of letters returns", "true or false", chosen);
  };
}
