/** The context object, built for each run of a handler. */

import {
  type Context,
  type HandlerReply,
  handlerReplyOf,
  isReplyStatus,
  type MessageHeaders,
  type MessageKind,
  noHeaders,
  type Query,
  type ReplyOptions,
  type StateKey,
} from "../api/context.ts";
import { invalidArgument } from "../errors.ts";
import { checkHeaders, decodeBody, decodeQuery, userHeaders } from "../protocol/codec.ts";
import type { Delivery } from "../transport/transport.ts";

/**
 * {@link Context} over a delivery. All that the type names is an own property, so that `{ ...context }` has it, and can be
 * destructured. The signal alone is made when it is read: it costs more than all the rest.
 */
export class HandlerContext implements Context {
  readonly kind: MessageKind;
  readonly path: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly headers: MessageHeaders;
  /** As received, until a schema has made another of it. */
  body: unknown;
  readonly messageId: string;
  readonly from: string;
  declare readonly signal: AbortSignal;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly reply: (body: unknown, options?: ReplyOptions) => HandlerReply = makeReply;
  readonly set = <Value>(key: StateKey<Value>, value: Value): void => {
    this.#state ??= new Map();
    this.#state.set(key as StateKey<unknown>, value);
  };
  readonly get = <Value>(key: StateKey<Value>): Value | undefined =>
    this.#state?.get(key as StateKey<unknown>) as Value | undefined;
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;
  #state: Map<StateKey<unknown>, unknown> | undefined;

  /** @throws `MALFORMED_MESSAGE` if its body cannot be read. */
  constructor(delivery: Delivery, params: Readonly<Record<string, string>>) {
    const { envelope, message, redelivered } = delivery;
    const body = decodeBody(message);
    this.kind = envelope.kind;
    this.path = envelope.path;
    this.params = params;
    this.query = decodeQuery(envelope.query);
    this.headers = userHeaders(message.properties.headers);
    this.body = body;
    this.messageId = envelope.messageId;
    this.from = envelope.from;
    this.attempt = envelope.attempt;
    this.redelivered = redelivered;
    Object.defineProperty(this, "signal", signalProperty);
  }

  static signalOf(context: HandlerContext): AbortSignal {
    if (context.#controller === undefined) {
      context.#controller = new AbortController();
      if (context.#aborted !== undefined) context.#controller.abort(context.#aborted.reason);
    }
    return context.#controller.signal;
  }

  /** Fires the signal, once. */
  abort(reason: unknown): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

// One for all contexts: V8 then keeps them in one fast shape.
const signalProperty: PropertyDescriptor & ThisType<HandlerContext> = {
  configurable: true,
  enumerable: true,
  get(): AbortSignal {
    return HandlerContext.signalOf(this);
  },
};

function makeReply(body: unknown, options: ReplyOptions = {}): HandlerReply {
  if (typeof options !== "object" || options === null)
    throw invalidArgument("The options of reply", "an object", options);
  const { status = 200, headers = noHeaders } = options;
  if (!isReplyStatus(status))
    throw invalidArgument("The status of a reply", "a whole number from 200 to 599", status);
  return handlerReplyOf(status, checkHeaders(headers), body);
}
