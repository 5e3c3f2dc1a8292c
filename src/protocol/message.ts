/** A message as it travels: AMQP's properties contain the metadata, the body contains only the value. */

/** The header table of a message. The protocol's own headers start with `confluo-`; confluo writes only strings. */
export type WireHeaders = Readonly<Record<string, unknown>>;

/**
 * The AMQP 0-9-1 basic properties that confluo uses, with the names that AMQP clients for JavaScript use, and the `mandatory`
 * flag of the publish. A property that is absent is left out of the message.
 */
export interface Properties {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  /** The path of a command. */
  readonly type?: string;
  readonly messageId?: string;
  readonly correlationId?: string;
  readonly replyTo?: string;
  /** The name of the sending service. */
  readonly appId?: string;
  /** The longest time that the message may wait in a queue: milliseconds as decimal digits. */
  readonly expiration?: string;
  /** 2 if the message must survive a restart of the broker; absent if it is transient. */
  readonly deliveryMode?: 2;
  /** When the message was sent, in seconds since 1970, by the sender's clock. */
  readonly timestamp?: number;
  readonly headers?: WireHeaders;
  /** Not a property but a flag of the publish: the broker returns the message if no queue takes it. */
  readonly mandatory?: true;
}

/** {@link Properties} that are built field by field, in a fixed order: V8 reads objects of one shape fastest. */
export type MutableProperties = { -readonly [Name in keyof Properties]: Properties[Name] };

/** A body and its properties. It must not be changed, because receivers on the embedded broker share it. */
export interface Message {
  readonly body: Uint8Array;
  readonly properties: Properties;
  /** The body as JSON text, if the creator of the message has it. Then the bytes are encoded when {@link body} is read. */
  readonly json?: string | undefined;
  /** The value of the body, if it was parsed as part of a batch. */
  readonly parsed?: { readonly value: unknown };
  /** The size of the body in bytes, if it is known without encoding the body. For a message from a batch, it is approximate. */
  readonly length?: number | undefined;
}

/** The application headers of a received message. */
export type MessageHeaders = Readonly<Record<string, string>>;
