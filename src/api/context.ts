/** The context that handlers and middleware get: one object for calls, one-way commands and events alike. */

import type { NamedValues } from "../protocol/codec.ts";
import type { MessageHeaders } from "../protocol/message.ts";
import type { HandlerReply, Reply } from "../protocol/reply.ts";

/** How a message came: `call` waits for an answer, `send` is a one-way command, `event` was published. */
export type MessageKind = "call" | "send" | "event";

/** Query parameters as received; a parameter given more than once is a list. */
export type Query = Readonly<Record<string, string | readonly string[]>>;

/** Status and headers of an answer. */
export interface ReplyOptions {
  /** 200 to 599; 400 and above rejects the call. Default: 200. */
  readonly status?: number | undefined;
  /** Application headers, as those of a message: an object, or pairs, such as a `Map` or `Headers`. Default: none. */
  readonly headers?: NamedValues<string> | undefined;
}

/** Names a value that middleware puts on a context and handlers read, with its type. Make one with `stateKey`. */
export interface StateKey<Value> {
  readonly name: string;
  /** Carries the type only, and in both directions: a key of `string` is none of `string | undefined`. */
  readonly value?: ((value: Value) => Value) | undefined;
}

/**
 * A typed key for state on a context. Two keys of one name are different keys.
 *
 * @example
 * const user = stateKey<User>("user");
 * service.use((context, next) => { context.set(user, …); return next(); });
 */
export function stateKey<Value>(name: string): StateKey<Value> {
  return Object.freeze({ name });
}

/** The context that a handler gets. `{ ...context }` has all of it, and shares the state. */
export interface Context<Body = unknown, Params = Readonly<Record<string, string>>, Answer = unknown> {
  readonly kind: MessageKind;
  /** The path as sent, with a leading slash. */
  readonly path: string;
  /** Values of the pattern's `:name` segments. */
  readonly params: Params;
  readonly query: Query;
  readonly headers: MessageHeaders;
  readonly body: Body;
  /** Stable across retries and redeliveries: deduplicate by it. */
  readonly messageId: string;
  /** Name of the sending service; empty if a foreign sender did not say. */
  readonly from: string;
  /** Fires at the deadline, and when a shutdown stops waiting for this handler. */
  readonly signal: AbortSignal;
  /** 1 for the first try. */
  readonly attempt: number;
  /** True if the broker delivered the message before, perhaps to an instance that died. */
  readonly redelivered: boolean;
  /** An answer with a status or headers of its own: `return reply(body, { status: 201 })`. */
  reply(body: Answer, options?: ReplyOptions): HandlerReply<Answer>;
  /** Puts state on the context, for handlers and middleware further in. */
  set<Value>(key: StateKey<Value>, value: NoInfer<Value>): void;
  /** State put there by middleware; `undefined` if none was. */
  get<Value>(key: StateKey<Value>): Value | undefined;
}

/** Runs around every handler; `next` runs what is further in, once. */
export type Middleware = (context: Context, next: () => Promise<Reply>) => Promise<Reply>;
