/** Options of the verbs. */

import type { NamedValues } from "../protocol/codec.ts";
import type { RetryOptions } from "../retry/policy.ts";
import type { WaitOptions } from "./checks.ts";

/**
 * Query values, which are added to the query of the path: an object, or pairs, such as a `Map` or `URLSearchParams`. A name
 * that occurs more than once becomes a list. A value that is `undefined` is left out.
 */
export type QueryInput = NamedValues<
  string | number | boolean | readonly (string | number | boolean)[] | undefined
>;

/** Options of all verbs that send a message. */
export interface MessageOptions extends WaitOptions {
  /** Query parameters, added to those in the path. */
  readonly query?: QueryInput | undefined;
  /**
   * Application headers: an object, or pairs, such as a `Map` or `Headers`. Names starting with `confluo-` or `x-`, and `CC`
   * and `BCC`, are refused.
   */
  readonly headers?: NamedValues<string> | undefined;
}

/**
 * Options of `call`. `timeoutMs` is the call's deadline; inside a handler, the rest of the handler's time applies if that is
 * less.
 */
export interface CallOptions extends MessageOptions {}

/** Options of `send` and `publish`. `timeoutMs` limits only the wait for the broker's confirm. */
export interface SendOptions extends MessageOptions {
  /** The message's id, which stays the same across retries, for deduplication. Default: a new id. */
  readonly messageId?: string | undefined;
  /** How long the message may wait for a handler, in milliseconds; after that it becomes a dead letter. Default: no limit. */
  readonly expiresMs?: number | undefined;
  /**
   * How long the message waits before it is handled, in milliseconds: up to 100 years, rounded up to a quarter of a second. It
   * waits at the broker, and needs neither the sender nor the receiver meanwhile. `expiresMs` counts from the end of the wait.
   * 0: at once. Default: 0.
   */
  readonly delayMs?: number | undefined;
  /**
   * When the message is due, in place of `delayMs`: a `Date`, or ISO 8601 with `Z` or an offset, such as
   * `"2026-12-01T09:00:00+01:00"`. A time in the past means at once. Compared with the clock of this host.
   */
  readonly at?: Date | string | undefined;
}

/**
 * Options of `publish`. An event with a delay returns to an inbox of this service, from which an instance publishes it. So the
 * service needs a route or subscription, and an instance when the event is due.
 */
export interface PublishOptions extends SendOptions {}

/** Options of `route`. */
export interface RouteOptions {
  /** Unregisters the handler when it aborts, as in `addEventListener`. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Time limit of the handler for a one-way command (`send`), in milliseconds; after that, the command counts as failed. A
   * call's limit is its caller's deadline. Default: 600,000 (10 minutes).
   */
  readonly timeoutMs?: number | undefined;
  /** When a failed one-way command is retried. Default: the service's `retry`. A call is not retried. */
  readonly retry?: RetryOptions | undefined;
}

/** Options of `subscribe`. */
export interface SubscribeOptions {
  /** Unregisters the handler when it aborts, as in `addEventListener`. */
  readonly signal?: AbortSignal | undefined;
  /** Time limit of the handler, in milliseconds; after that, the event counts as failed. Default: 600,000 (10 minutes). */
  readonly timeoutMs?: number | undefined;
  /**
   * When a failed event is retried, for this subscription only. Default: the service's `retry`. Copies of `per: "instance"` are
   * not retried.
   */
  readonly retry?: RetryOptions | undefined;
  /**
   * The receivers of each event: one instance of the service, durably, or every instance that is connected. Default:
   * `"service"`.
   */
  readonly per?: "service" | "instance" | undefined;
}
