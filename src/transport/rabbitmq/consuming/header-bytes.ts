/**
 * The header tables of messages as they came. amqplib hands over JavaScript's values, which do not say of which of AMQP's types
 * they were, and rounds large numbers; whoever writes a message again as it was needs the bytes.
 */

import { type FrameReader, headerTableIn } from "./unreadable-headers.ts";

const headerBytes: unique symbol = Symbol("confluo.headerBytes");

/** From now on the properties of each message that is received hold the bytes of its header table. */
export function keepHeaderBytes(connection: FrameReader): void {
  const receive = connection.recvFrame?.bind(connection);
  if (receive === undefined || !Buffer.isBuffer(connection.rest)) return;
  connection.recvFrame = () => {
    const { rest: before } = connection;
    const frame = receive();
    const { fields } = (frame || {}) as { readonly fields?: object };
    const place = before === undefined || fields === undefined ? undefined : headerTableIn(before);
    if (before !== undefined && fields !== undefined && place !== undefined && !(headerBytes in fields))
      Object.defineProperty(fields, headerBytes, { value: Buffer.from(before.subarray(...place)) });
    return frame;
  };
}

/** The bytes of a received message's header table, without their length; `undefined` if they were not kept. */
export function headerBytesOf(properties: object): Uint8Array | undefined {
  return (properties as { readonly [headerBytes]?: Uint8Array })[headerBytes];
}
