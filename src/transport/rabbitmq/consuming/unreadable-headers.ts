/**
 * A message whose header table amqplib cannot decode. amqplib ends the connection for it; the broker then delivers the same
 * message again, for ever. RabbitMQ itself takes tables that are nested some ten thousand levels deep, where amqplib's
 * decoder runs out of stack.
 */

/** The part of amqplib's connection that is used, which does not document it; without it everything works but this. */
export interface FrameReader {
  /** The bytes that were read from the socket and not decoded. */
  rest?: Buffer;
  /** Takes the next frame from `rest`, then decodes it. */
  recvFrame?(): unknown;
}

const CONTENT_HEADER = 2;
const FRAME_START = 7; // type, channel, size
const PROPERTIES_START = 14; // class, weight, body size, flags
const FLAGS = 12;
const TABLE_LENGTH = 4;
const HAS_CONTENT_TYPE = 0x8000;
const HAS_CONTENT_ENCODING = 0x4000;
const HAS_HEADERS = 0x2000;

/** From now on such a message is received with an empty header table. */
export function readUnreadableHeadersAsNone(connection: FrameReader): void {
  const receive = connection.recvFrame?.bind(connection);
  if (receive === undefined || !Buffer.isBuffer(connection.rest)) return;
  connection.recvFrame = () => {
    const { rest: before } = connection;
    try {
      return receive();
    } catch (error) {
      const readable = before === undefined ? undefined : withoutHeaders(before);
      if (readable === undefined || connection.rest === undefined) throw error;
      connection.rest = Buffer.concat([readable, connection.rest]);
      return receive();
    }
  };
}

/** The frame at the start, with an empty header table; `undefined` if it holds none. */
function withoutHeaders(bytes: Buffer): Buffer | undefined {
  const place = headerTableIn(bytes);
  if (place === undefined) return undefined;
  const [at, after] = place;
  const end = FRAME_START + bytes.readUInt32BE(3);
  const content = Buffer.concat([
    bytes.subarray(FRAME_START, at - TABLE_LENGTH),
    Buffer.alloc(TABLE_LENGTH),
    bytes.subarray(after, end),
  ]);
  const start = Buffer.from(bytes.subarray(0, FRAME_START));
  start.writeUInt32BE(content.length, 3);
  return Buffer.concat([start, content, bytes.subarray(end, end + 1)]);
}

/** Where the header table lies in the frame at the start, without its length; `undefined` if that frame is not whole or has none. */
export function headerTableIn(bytes: Buffer): readonly [from: number, to: number] | undefined {
  if (bytes.length < FRAME_START || bytes[0] !== CONTENT_HEADER) return undefined;
  if (bytes.length <= FRAME_START + bytes.readUInt32BE(3)) return undefined;
  const flags = bytes.readUInt16BE(FRAME_START + FLAGS);
  if ((flags & HAS_HEADERS) === 0) return undefined;
  let at = FRAME_START + PROPERTIES_START;
  for (const flag of [HAS_CONTENT_TYPE, HAS_CONTENT_ENCODING])
    if ((flags & flag) !== 0) at += 1 + bytes.readUInt8(at);
  const from = at + TABLE_LENGTH;
  return [from, from + bytes.readUInt32BE(at)];
}
