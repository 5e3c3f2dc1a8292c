/** A message as it travels: AMQP's properties carry the metadata, the body is just the body. */

/** Application headers. Ours start with `confluo-`; all that confluo writes are strings. */
export type WireHeaders = Readonly<Record<string, unknown>>;

/**
 * The AMQP 0-9-1 basic properties that confluo uses, under the names that AMQP clients for JavaScript give them,
 * and the one flag that travels beside them. What is absent is left out of the message.
 */
export interface Properties {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  /** Path of a command. */
  readonly type?: string;
  readonly messageId?: string;
  readonly correlationId?: string;
  readonly replyTo?: string;
  /** The sending service. */
  readonly appId?: string;
  /** Milliseconds that the message may wait in a queue, as decimal digits. */
  readonly expiration?: string;
  /** 2 for a message that survives a broker restart; absent for a transient one. */
  readonly deliveryMode?: 2;
  readonly headers?: WireHeaders;
  /** Not a property but a flag of the publish: return the message if no queue takes it. */
  readonly mandatory?: true;
}

/** {@link Properties} that are being put together, one after the other: messages of one shape are read fastest. */
export type MutableProperties = { -readonly [Name in keyof Properties]: Properties[Name] };

/** A body and its properties. Shared between receivers on the embedded broker: never changed once made. */
export interface Message {
  readonly body: Uint8Array;
  readonly properties: Properties;
  /** The body as JSON text, if whoever made the message has it at hand: the bytes are written when they are asked for. */
  readonly json?: string | undefined;
  /** The value of the body, if it was parsed together with others. */
  readonly parsed?: { readonly value: unknown };
  /**
   * How many bytes the body takes, if that is known without writing it. Of a message that came together with others: about
   * how many.
   */
  readonly length?: number | undefined;
}

/** Application headers as received. */
export type MessageHeaders = Readonly<Record<string, string>>;
