/** Options of the verbs. */

import type { NamedValues } from "../protocol/codec.ts";
import type { RetryOptions } from "../retry/policy.ts";
import type { WaitOptions } from "./checks.ts";

/**
 * Query values: what follows `?` in a path, or the `query` option. Pairs will do, too: a `Map`, `URLSearchParams`; a name
 * that they have more than once is a list. One that is `undefined` is left out.
 */
export type QueryInput = NamedValues<
  string | number | boolean | readonly (string | number | boolean)[] | undefined
>;

/** Options of a message, which travel beside its body. */
export interface MessageOptions extends WaitOptions {
  /** Query parameters, added to those in the path. */
  readonly query?: QueryInput | undefined;
  /**
   * Application headers: an object, or pairs, such as a `Map` or `Headers`. Names starting with `confluo-` or `x-`, and `CC`
   * and `BCC`, are refused.
   */
  readonly headers?: NamedValues<string> | undefined;
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
  /** The receivers of a copy: one instance of the service, durably, or every instance that is up. Default: `"service"`. */
  readonly per?: "service" | "instance" | undefined;
}
