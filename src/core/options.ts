/** Options that the verbs share, and the check that they are options. */

import { ConfluoError, invalidArgument, show } from "../errors.ts";
import type { Named } from "../protocol/codec.ts";
import type { RetryOptions } from "../retry/policy.ts";

/** Options of everything that waits. */
export interface Waiting {
  /** The longest wait, in milliseconds. Default: the service's `timeoutMs`, 20,000 unless set. */
  readonly timeoutMs?: number | undefined;
  /** Gives up waiting when it fires: the promise rejects with `CANCELLED`. What was sent stays sent. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Query values: what follows `?` in a path, or the `query` option. Pairs will do, too: a `Map`, `URLSearchParams`; a name
 * that they have more than once is a list. One that is `undefined` is left out.
 */
export type QueryInput = Named<
  string | number | boolean | readonly (string | number | boolean)[] | undefined
>;

/** What travels beside a body. */
export interface MessageOptions extends Waiting {
  /** Query parameters, added to those in the path. */
  readonly query?: QueryInput | undefined;
  /**
   * Application headers: an object, or pairs, such as a `Map` or `Headers`. Names starting with `confluo-` or `x-`, and `CC`
   * and `BCC`, are refused.
   */
  readonly headers?: Named<string> | undefined;
}

/** Options of `call`. `timeoutMs` is the call's deadline; inside a handler, what is left of its own if that is less. */
export interface CallOptions extends MessageOptions {}

/** Options of `send` and `publish`. `timeoutMs` bounds the wait for the broker's confirm and nothing else. */
export interface SendOptions extends MessageOptions {
  /** The message's identity, stable across retries, for deduplication. Default: a new one. */
  readonly messageId?: string | undefined;
  /**
   * How long the message may wait for a handler, in milliseconds; after that it goes to the dead-letter queue.
   * Default: for ever.
   */
  readonly expiresMs?: number | undefined;
}

/** Options of `publish`. */
export interface PublishOptions extends SendOptions {}

/** Options of `route`. */
export interface RouteOptions {
  /** Unregisters the handler when it fires, as in `addEventListener`. */
  readonly signal?: AbortSignal | undefined;
  /**
   * The longest a one-way command (`send`) may run, in milliseconds; then it counts as failed. A call's limit is its
   * caller's deadline. Default: 600,000 (10 minutes).
   */
  readonly timeoutMs?: number | undefined;
  /** When a one-way command that failed is tried again. Default: as the service says. A call is not retried. */
  readonly retry?: RetryOptions | undefined;
}

/** Options of `subscribe`. */
export interface SubscribeOptions {
  /** Unregisters the handler when it fires, as in `addEventListener`. */
  readonly signal?: AbortSignal | undefined;
  /** The longest an event may be handled, in milliseconds; then it counts as failed. Default: 600,000 (10 minutes). */
  readonly timeoutMs?: number | undefined;
  /**
   * When an event that failed is tried again, for this subscription alone. Default: as the service says. Copies of
   * `per: "instance"` are not retried.
   */
  readonly retry?: RetryOptions | undefined;
  /** Who gets a copy: one instance of the service, durably, or every instance that is up. Default: `"service"`. */
  readonly per?: "service" | "instance" | undefined;
}

/** Names of options: all of them, or it does not compile. */
export type Known<Options> = Readonly<Record<keyof Options & string, true>>;

/** Options of which each is given or absent. */
export type Given<Options> = { readonly [Name in keyof Options]?: Exclude<Options[Name], undefined> };

/**
 * Returns the options that were given, or none, without those that are `undefined`: these count as left out. Finds for
 * JavaScript what TypeScript finds at compile time, such as a misspelt name.
 *
 * @throws `INVALID_ARGUMENT` for what is no object, or has a name that is none of the known.
 */
export function knownOptions<Options extends object>(
  of: string,
  given: Options | undefined,
  known: Known<Options>,
): Given<Options> {
  if (given === undefined) return {};
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw invalidArgument(`The options of ${of}`, "an object", given);
  let isComplete = true;
  for (const name of Object.keys(given)) {
    if (given[name as keyof Options] === undefined) isComplete = false;
    if (Object.hasOwn(known, name)) continue;
    const names = Object.keys(known).join(", ");
    throw new ConfluoError("INVALID_ARGUMENT", `${of} has no option ${show(name)}, only ${names}.`);
  }
  return (isComplete ? given : withoutUndefined(given)) as Given<Options>;
}

function withoutUndefined(given: object): object {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
