/** The context that handlers and middleware get. It is the same object type for calls, one-way commands and events. */

import type { NamedValues } from "../protocol/codec.ts";
import type { MessageHeaders } from "../protocol/message.ts";
import type { HandlerReply, Reply } from "../protocol/reply.ts";

/** The kind of a message: a `call` awaits an answer, a `send` is a one-way command, an `event` was published. */
export type MessageKind = "call" | "send" | "event";

/** Query parameters as received. A parameter that was given more than once is a list. */
export type Query = Readonly<Record<string, string | readonly string[]>>;

/** Status and headers of an answer. */
export interface ReplyOptions {
  /** 200 to 599; 400 and above rejects the call. Default: 200. */
  readonly status?: number | undefined;
  /** Application headers, as those of a message: an object, or pairs, such as a `Map` or `Headers`. Default: none. */
  readonly headers?: NamedValues<string> | undefined;
}

/** A typed key of a value that middleware stores on the context and handlers read. {@link stateKey} makes one. */
export interface StateKey<Value> {
  readonly name: string;
  /**
   * Never set. It makes the key invariant in `Value`: a key of `string` is not assignable to one of `string` or `undefined`.
   */
  readonly value?: ((value: Value) => Value) | undefined;
}

/**
 * Makes a typed key for state on a context. Two keys with the same name are different keys.
 *
 * @example
 * const user = stateKey<User>("user");
 * service.use((context, next) => { context.set(user, …); return next(); });
 */
export function stateKey<Value>(name: string): StateKey<Value> {
  return Object.freeze({ name });
}

/** The context that a handler gets. A copy by `{ ...context }` has all members and shares the state. */
export interface Context<Body = unknown, Params = Readonly<Record<string, string>>, Answer = unknown> {
  readonly kind: MessageKind;
  /** The path as sent, with a leading slash. */
  readonly path: string;
  /** Values of the pattern's `:name` segments. */
  readonly params: Params;
  readonly query: Query;
  readonly headers: MessageHeaders;
  readonly body: Body;
  /** The same for every retry and redelivery of a message, so handlers can deduplicate by it. */
  readonly messageId: string;
  /** Name of the sending service; empty if a foreign sender did not give one. */
  readonly from: string;
  /** Aborts at the handler's deadline, and when a shutdown stops waiting for the handler. */
  readonly signal: AbortSignal;
  /** Number of the try; the first is 1. */
  readonly attempt: number;
  /** True if the broker has delivered the message before, perhaps to an instance that died. */
  readonly redelivered: boolean;
  /** Makes an answer with a status or headers of its own: `return reply(body, { status: 201 })`. */
  reply(body: Answer, options?: ReplyOptions): HandlerReply<Answer>;
  /** Stores a value on the context for the handler and for the middleware registered later. */
  set<Value>(key: StateKey<Value>, value: NoInfer<Value>): void;
  /** Returns a value that middleware stored; `undefined` if there is none. */
  get<Value>(key: StateKey<Value>): Value | undefined;
}

/** A function that runs around every handler. `next`, called at most once, runs the later middleware and the handler. */
export type Middleware = (context: Context, next: () => Promise<Reply>) => Promise<Reply>;
