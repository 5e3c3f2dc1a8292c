/** Messages that a service sends and handles, told on channels of `node:diagnostics_channel`. Nothing is made while nobody listens. */

import { channel } from "node:diagnostics_channel";
import type { MessageKind } from "./api/context.ts";
import type { MaybePromise } from "./async/maybe-promise.ts";
import { checkHeaders, userHeaders } from "./protocol/codec.ts";
import type { Message, MessageHeaders } from "./protocol/message.ts";
import { isHandlerReply } from "./protocol/reply.ts";
import type { Delivery } from "./transport/transport.ts";

/**
 * Names of the channels. A message that goes out is an {@link OutgoingMessage}, one that a handler gets a
 * {@link HandledMessage}; each is published on `start`, on `error` if it failed, and on `end`, as the same object.
 */
export const diagnosticsChannels: {
  readonly outgoing: ChannelNames<"confluo.outgoing">;
  readonly handled: ChannelNames<"confluo.handled">;
} = Object.freeze({ outgoing: namesOf("confluo.outgoing"), handled: namesOf("confluo.handled") });

interface ChannelNames<Name extends string> {
  readonly start: `${Name}.start`;
  readonly error: `${Name}.error`;
  readonly end: `${Name}.end`;
}

function namesOf<Name extends string>(name: Name): ChannelNames<Name> {
  return Object.freeze({ start: `${name}.start`, error: `${name}.error`, end: `${name}.end` });
}

/** The part of Node's `Channel` that is used, so that users of this package need no types of Node's. */
interface Channel<Told> {
  readonly hasSubscribers: boolean;
  publish(told: Told): void;
  runStores<Result>(told: Told, run: () => Result): Result;
}

/** The channels of one kind of message. */
interface Channels<Told> {
  readonly start: Channel<Told>;
  readonly error: Channel<Told>;
  readonly end: Channel<Told>;
}

function channelsOf<Told>({ start, error, end }: ChannelNames<string>): Channels<Told> {
  const channelOf = (name: string): Channel<Told> => channel(name) as unknown as Channel<Told>;
  return { start: channelOf(start), error: channelOf(error), end: channelOf(end) };
}

/** The channels for what goes out, and for what is handled: nothing is made while none of the three has subscribers. */
export const outgoingMessages: Channels<OutgoingMessage> = channelsOf(diagnosticsChannels.outgoing);
export const handledMessages: Channels<HandledMessage> = channelsOf(diagnosticsChannels.handled);

/** Name and instance of a service. */
export interface Whose {
  readonly service: string;
  readonly instance: string;
}

interface OutgoingParts extends Whose {
  readonly kind: MessageKind;
  readonly to: string | undefined;
  readonly path: string;
  readonly pattern: string | undefined;
  readonly messageId: string;
}

/** A call, one-way command or event that goes out: from `start` to its answer or confirm. */
export class OutgoingMessage implements OutgoingParts {
  /** Name and instance of the sender. */
  readonly service: string;
  readonly instance: string;
  readonly kind: MessageKind;
  /** The service that a command is for; `undefined` for an event. */
  readonly to: string | undefined;
  readonly path: string;
  /** The contract's path, parameters unfilled; `undefined` if it was sent without a contract. */
  readonly pattern: string | undefined;
  /** The id that the handler sees as its message's. */
  readonly messageId: string;
  #error: unknown;
  #headers: Message["properties"]["headers"];

  constructor(parts: OutgoingParts, headers: Message["properties"]["headers"]) {
    this.service = parts.service;
    this.instance = parts.instance;
    this.kind = parts.kind;
    this.to = parts.to;
    this.path = parts.path;
    this.pattern = parts.pattern;
    this.messageId = parts.messageId;
    this.#headers = headers;
  }

  /** The error that the sender's promise rejects with; `undefined` before `error`. */
  get error(): unknown {
    return this.#error;
  }

  /** The application's headers. */
  get headers(): MessageHeaders {
    return userHeaders(this.#headers);
  }

  /**
   * Adds a header, or replaces one. Only within a listener to `start`: later, the message is on its way.
   *
   * @returns whether the protocol allows it and there is room; else the message goes without it.
   */
  setHeader(name: string, value: string): boolean {
    try {
      checkHeaders({ ...this.headers, [name]: value });
    } catch {
      return false;
    }
    this.#headers = { ...this.#headers, [name]: value };
    return true;
  }

  /** @internal Tells of the start. @returns the headers to send. */
  begin(): Readonly<Record<string, string>> | undefined {
    outgoingMessages.start.publish(this);
    return this.#headers as Readonly<Record<string, string>> | undefined;
  }

  /** @internal Tells of the end, when it is there. */
  until(promise: Promise<unknown>): void {
    const end = (): void => outgoingMessages.end.publish(this);
    promise.then(end, (error: unknown) => {
      this.#error = error;
      outgoingMessages.error.publish(this);
      end();
    });
  }
}

type Around = (run: () => unknown) => unknown;

/** A message that a handler gets: from the check of its body to the handler's end. */
export class HandledMessage {
  /** Name and instance of the service whose handler it is. */
  readonly service: string;
  readonly instance: string;
  /** The pattern that the handler was registered for. */
  readonly pattern: string;
  readonly #delivery: Delivery;
  #around: Around | undefined;
  #error: unknown;
  #status: number | undefined;

  constructor(of: Whose, delivery: Delivery, pattern: string) {
    this.service = of.service;
    this.instance = of.instance;
    this.pattern = pattern;
    this.#delivery = delivery;
  }

  get kind(): MessageKind {
    return this.#delivery.envelope.kind;
  }

  get path(): string {
    return this.#delivery.envelope.path;
  }

  get messageId(): string {
    return this.#delivery.envelope.messageId;
  }

  /** Name of the sender; empty if a foreign one did not say. */
  get from(): string {
    return this.#delivery.envelope.from;
  }

  /** 1 for the first try. */
  get attempt(): number {
    return this.#delivery.envelope.attempt;
  }

  /** True if the broker delivered it before, perhaps to an instance that died. */
  get redelivered(): boolean {
    return this.#delivery.redelivered;
  }

  /** The application's headers, as received. */
  get headers(): MessageHeaders {
    return userHeaders(this.#delivery.message.properties.headers);
  }

  /** The error that the handler failed with, or why nobody waits for it any more; `undefined` before `error`. */
  get error(): unknown {
    return this.#error;
  }

  /** The status that the handler answered with; `undefined` until it has. */
  get status(): number | undefined {
    return this.#status;
  }

  /**
   * Runs the handler inside a function, which must return what `run` returns. Only within a listener to `start`. For
   * contexts that are no `AsyncLocalStorage` at hand; one that is can be bound to the channel, by `bindStore`.
   *
   * @example message.runInside((run) => context.with(extracted, run));
   */
  runInside(around: Around): void {
    const outer = this.#around;
    this.#around = outer === undefined ? around : (run) => outer(() => around(run));
  }

  /**
   * @internal Runs it, and tells of its start and its end. `onStop` takes a callback for when nobody waits for it any more.
   */
  watch(
    onStop: (callback: (reason: unknown) => void) => void,
    work: () => MaybePromise<unknown>,
  ): MaybePromise<unknown> {
    let isOver = false;
    const returned = (result: unknown): void => {
      if (isOver) return;
      isOver = true;
      this.#status = isHandlerReply(result) ? result.status : 200;
      handledMessages.end.publish(this);
    };
    const failed = (error: unknown): void => {
      if (isOver) return;
      isOver = true;
      this.#error = error;
      handledMessages.error.publish(this);
      handledMessages.end.publish(this);
    };
    let result: MaybePromise<unknown>;
    try {
      result = handledMessages.start.runStores(this, () => this.#inside(work));
    } catch (error) {
      failed(error);
      throw error;
    }
    if (result instanceof Promise) {
      // A handler that nobody waits for any more may never end.
      onStop(failed);
      result.then(returned, failed);
    } else returned(result);
    return result;
  }

  #inside(work: () => MaybePromise<unknown>): MaybePromise<unknown> {
    return this.#around === undefined ? work() : (this.#around(work) as MaybePromise<unknown>);
  }
}
