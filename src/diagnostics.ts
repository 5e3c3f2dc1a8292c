/**
 * Reports the messages that a service sends and handles, on channels of `node:diagnostics_channel`. It creates no objects while
 * no channel has a subscriber.
 */

import { channel } from "node:diagnostics_channel";
import type { MessageKind } from "./api/context.ts";
import type { MaybePromise } from "./async/maybe-promise.ts";
import { checkHeaders, userHeaders } from "./protocol/codec.ts";
import type { Message, MessageHeaders } from "./protocol/message.ts";
import { isHandlerReply } from "./protocol/reply.ts";
import type { Delivery } from "./transport/transport.ts";

/**
 * Names of the channels. An outgoing message is an {@link OutgoingMessage}; a message that a handler gets is a
 * {@link HandledMessage}. The same object is published on `start`, on `error` if the message failed, and on `end`.
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

/** The used part of Node's `Channel`, declared here so that users of this package do not need Node's types. */
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

/**
 * The channels for outgoing and for handled messages. No object is created for a message while none of the three has
 * subscribers.
 */
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

/** An outgoing call, one-way command or event: from `start` to its answer or confirm. */
export class OutgoingMessage implements OutgoingParts {
  /** Name and instance of the sender. */
  readonly service: string;
  readonly instance: string;
  readonly kind: MessageKind;
  /** The service that a command is sent to; `undefined` for an event. */
  readonly to: string | undefined;
  readonly path: string;
  /** The contract's path with its `:name` segments; `undefined` if the message was sent without a contract. */
  readonly pattern: string | undefined;
  /** The `messageId` that the handler sees. */
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
   * Adds or replaces a header. Works only within a listener to `start`: later, the message is already on its way.
   *
   * @returns whether the header was set. It is not set if the protocol does not allow it or if there is no room for it.
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

  /** @internal Publishes on `start`. @returns the headers to send. */
  begin(): Readonly<Record<string, string>> | undefined {
    outgoingMessages.start.publish(this);
    return this.#headers as Readonly<Record<string, string>> | undefined;
  }

  /** @internal Publishes on `error` and `end` once the promise settles. */
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
  /** Name and instance of the service that handles the message. */
  readonly service: string;
  readonly instance: string;
  /** The pattern that the handler is registered for. */
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

  /** Name of the sender; empty if a foreign sender did not give one. */
  get from(): string {
    return this.#delivery.envelope.from;
  }

  /** Number of the try; the first is 1. */
  get attempt(): number {
    return this.#delivery.envelope.attempt;
  }

  /** True if the broker has delivered the message before, perhaps to an instance that died. */
  get redelivered(): boolean {
    return this.#delivery.redelivered;
  }

  /** The application's headers, as received. */
  get headers(): MessageHeaders {
    return userHeaders(this.#delivery.message.properties.headers);
  }

  /** The error that the handler failed with, or the reason why confluo stopped waiting for it; `undefined` before `error`. */
  get error(): unknown {
    return this.#error;
  }

  /** The status that the handler answered with; `undefined` before it has answered. */
  get status(): number | undefined {
    return this.#status;
  }

  /**
   * Runs the handler inside a function, which must return what `run` returns. Works only within a listener to `start`. Intended
   * for contexts without an accessible `AsyncLocalStorage`; one that is accessible can be bound to the channel with
   * `bindStore`.
   *
   * @example message.runInside((run) => context.with(extracted, run));
   */
  runInside(around: Around): void {
    const outer = this.#around;
    this.#around = outer === undefined ? around : (run) => outer(() => around(run));
  }

  /**
   * @internal Runs the handler, and publishes its start and end. `onStop` takes a callback for the case that confluo stops
   *   waiting.
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
      // After confluo has stopped waiting for a handler, the handler may never end.
      onStop(failed);
      result.then(returned, failed);
    } else returned(result);
    return result;
  }

  #inside(work: () => MaybePromise<unknown>): MaybePromise<unknown> {
    return this.#around === undefined ? work() : (this.#around(work) as MaybePromise<unknown>);
  }
}
