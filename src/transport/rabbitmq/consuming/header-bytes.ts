/**
 * Retains the encoded header tables of received messages. amqplib decodes them to JavaScript values, which do not show the AMQP
 * type of a value, and it rounds large numbers. An exact copy of a message needs the bytes.
 */

import { type FrameReader, headerTableIn } from "./unreadable-headers.ts";

const headerBytes: unique symbol = Symbol("confluo.headerBytes");

/** Makes the properties of each received message contain the bytes of its header table. */
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

/** Returns the bytes of a received message's header table, without its length field; `undefined` if they were not retained. */
export function headerBytesOf(properties: object): Uint8Array | undefined {
  return (properties as { readonly [headerBytes]?: Uint8Array })[headerBytes];
}
