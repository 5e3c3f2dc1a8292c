/** The context object, built for each run of a handler. */

import { invalidArgument } from "../errors.ts";
import { checkHeaders, decodeQuery, userHeaders } from "../protocol/codec.ts";
import type { Delivery } from "../transport/transport.ts";
import {
  type Context,
  type HandlerReply,
  type Headers,
  handlerReplyOf,
  isReplyStatus,
  type Kind,
  noHeaders,
  type Query,
  type ReplyOptions,
  type StateKey,
} from "./context.ts";

/**
 * {@link Context} over a delivery. What handlers rarely read is made when it is read; getters are on the prototype and
 * can be destructured.
 */
export class HandlerContext implements Context {
  readonly params: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly #delivery: Delivery;
  #query: Query | undefined;
  #headers: Headers | undefined;
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;
  #state: Map<StateKey<unknown>, unknown> | undefined;

  constructor(delivery: Delivery, params: Readonly<Record<string, string>>, body: unknown) {
    this.#delivery = delivery;
    this.params = params;
    this.body = body;
  }

  get kind(): Kind {
    return this.#delivery.origin.kind;
  }

  get path(): string {
    return this.#delivery.origin.path;
  }

  get messageId(): string {
    return this.#delivery.origin.messageId;
  }

  get from(): string {
    return this.#delivery.origin.from;
  }

  get attempt(): number {
    return this.#delivery.origin.attempt;
  }

  get redelivered(): boolean {
    return this.#delivery.redelivered;
  }

  get query(): Query {
    this.#query ??= decodeQuery(this.#delivery.origin.query);
    return this.#query;
  }

  get headers(): Headers {
    this.#headers ??= userHeaders(this.#delivery.message.properties.headers);
    return this.#headers;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  get reply(): (body: unknown, options?: ReplyOptions) => HandlerReply {
    return makeReply;
  }

  get set(): <Value>(key: StateKey<Value>, value: Value) => void {
    return (key, value) => {
      this.#state ??= new Map();
      this.#state.set(key, value);
    };
  }

  get get(): <Value>(key: StateKey<Value>) => Value | undefined {
    return <Value>(key: StateKey<Value>) => this.#state?.get(key) as Value | undefined;
  }

  /** Fires the signal, once. */
  abort(reason: unknown): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

function makeReply(body: unknown, options: ReplyOptions = {}): HandlerReply {
  if (typeof options !== "object" || options === null)
    throw invalidArgument("The options of reply", "an object", options);
  const { status = 200, headers = noHeaders } = options;
  if (!isReplyStatus(status))
    throw invalidArgument("The status of a reply", "a whole number from 200 to 599", status);
  return handlerReplyOf(status, checkHeaders(headers), body);
}
