/** The operator's hands at the dead letters of a service, or at the orphans of a namespace. */

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
  /** How many letters at most, from 1 to 20,000. Default: 100. */
  readonly limit?: number | undefined;
}

/**
 * Which letters: all that are there, those with one of these ids, or those for which a function returns `true`. The
 * function must not be asynchronous.
 */
export type DeadLetterSelection = "all" | readonly string[] | ((letter: DeadLetter) => boolean);

/** Options of {@link DeadLetters.import}. */
export interface ImportDeadLettersOptions extends WaitOptions {
  /** True to put in again what lies in the queue already. Default: `false`. */
  readonly again?: boolean | undefined;
}

/** The parts that dead letters work with. */
export interface DeadLettersDependencies extends DeadLetterQueue {
  open(signal: AbortSignal): Promise<AmqpClient>;
  newId(): string;
}

const LETTERS_MS = 20_000;
const LIST_LIMIT = 100;
// How many copies wait for their confirm at a time.
const UNDER_WAY = 256;

const listOptions: OptionNames<ListDeadLettersOptions> = { timeoutMs: true, signal: true, limit: true };
const importOptions: OptionNames<ImportDeadLettersOptions> = { timeoutMs: true, signal: true, again: true };

/**
 * Dead letters: what a service gave up, or what returned to a queue that is gone. Every method opens a connection of its
 * own and closes it at the end, and takes `timeoutMs` (default: 20,000) and `signal`.
 *
 * Letters that are being looked at are held for that time: somebody else who looks meanwhile sees the others, and
 * `count` does not count them. All of them go back to their places. One that went back before is put back as a copy, so that
 * no `delivery-limit` of an operator's policy destroys what is looked at repeatedly; a connection that breaks meanwhile may leave
 * such a letter twice. In a queue of more than 2,000 letters, copies go behind the others. `show`, `export`, and `replay` and
 * `discard` with ids or a function, look through the oldest 20,000 that stay.
 *
 * All reject with `BROKER_UNREACHABLE`, `ACCESS_REFUSED`, `CONNECTION_LOST`, `TIMEOUT`, `CANCELLED`, `UNAVAILABLE` if
 * the queue goes away meanwhile, and `INVALID_ARGUMENT`. A service that is not known has no letters.
 *
 * @example
 * const letters = broker.deadLetters("orders");
 * for (const { id, path, error } of await letters.list()) console.log(id, path, error?.message);
 * await letters.replay((letter) => letter.error?.code === "TIMEOUT");
 */
export class DeadLetters {
  readonly #parts: DeadLettersDependencies;

  /** @internal Made by `Broker.deadLetters` and `Broker.orphans`. */
  constructor(parts: DeadLettersDependencies) {
    this.#parts = parts;
  }

  /** How many letters there are, without those that somebody is looking at. */
  async count(options?: WaitOptions): Promise<number> {
    const limits = readWaitOptions("count", options, LETTERS_MS);
    return this.#onClient(limits, async (client) => {
      return (await client.inspectQueue(this.#parts.queue))?.messages ?? 0;
    });
  }

  /** The letters, the oldest first. They stay where they are. */
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

  /** The oldest letter with an id; `undefined` if there is none. It stays where it is. */
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
   * Sends letters back to be handled anew: as the same message, first try, an event for the subscription that failed and
   * no other, a call as a one-way command. A letter is removed when the broker has confirmed its copy: a crash in
   * between costs a repetition, never a letter. Those whose path is not known stay and do not count. Those that come
   * meanwhile, perhaps since they failed again, are left for the next time.
   *
   * @returns how many were sent back.
   * @throws also `NO_SUCH_SERVICE` if the inbox is gone, `UNAVAILABLE` and `PAYLOAD_TOO_LARGE` if the broker does not take
   *   one, and what a function that selects throws. The letter stays then, and so do those that were not come to; the
   *   error's `data.replayed` says how many were sent back by then; after a `TIMEOUT` or `CANCELLED` those that were under
   *   way may follow.
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
   * Removes letters for good.
   *
   * @returns how many were removed.
   * @throws also what a function that selects throws. The error's `data.discarded` says how many were removed by then.
   */
  async discard(selection: DeadLetterSelection, options?: WaitOptions): Promise<number> {
    return this.#act("discard", selection, options, () => Promise.resolve());
  }

  /**
   * Writes letters down, each with all of its properties and bytes, as JSON can hold them. They stay where they are. At most
   * 20,000.
   *
   * @example for (const letter of await letters.export("all")) file.write(`${JSON.stringify(letter)}\n`);
   * @throws also `MALFORMED_MESSAGE` for a letter whose headers cannot be read, and what a function that selects throws.
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
   * Puts letters that were exported into the queue, here or at another broker. A letter counts as imported when the broker has
   * confirmed it. What lies in the queue already, among the oldest 20,000, is left out unless `again` is set: so an import that
   * broke off can be repeated, and puts in what is missing.
   *
   * @throws also `INVALID_ARGUMENT` for what is no letter, before any is imported; `NO_SUCH_SERVICE` if the queue does not exist,
   *   `UNAVAILABLE` and `PAYLOAD_TOO_LARGE` if the broker does not take one. The error's `data` says how many were `imported` and
   *   `present` by then; a few more may have been.
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
        // An orphan's key says whom it was meant for.
        if (target === undefined)
          return { route: { exchange: namespace.orphans, key: delivery.key }, message };
        // Not mandatory: a queue that is gone takes its letters along, and mandatory copies of one message wait for each other,
        // which would change their order.
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

// A letter that somebody looked at before is delivered first and goes back behind its like: were only some of it taken, the oldest
// would be the last the next time. So it is taken to its end.
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
  // The function is called for each letter that the connection brings, in the context of whoever passed it.
  const select = AsyncResource.bind(selection);
  return (letter) => {
    const chosen: unknown = select(letter);
    // A promise would count as true, whatever it resolves with.
    if (typeof chosen === "boolean") return chosen;
    throw invalidArgument("What a selection of letters returns", "true or false", chosen);
  };
}
