/**
 * Receives messages whose header table amqplib cannot decode. amqplib would close the connection, and the broker would
 * redeliver the same message without end. RabbitMQ accepts tables that are nested some ten thousand levels deep, for which
 * amqplib's decoder runs out of stack.
 */

/** The part of amqplib's connection that is used here. It is not documented; without it everything but this works. */
export interface FrameReader {
  /** The bytes that were read from the socket and are not decoded yet. */
  rest?: Buffer;
  /** Removes the next frame from `rest`, and decodes it. */
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

/** Makes a connection receive such messages with an empty header table. */
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

/** Returns the frame at the start with an empty header table; `undefined` if it contains no header table. */
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

/**
 * Returns the position of the header table in the frame at the start, without its length field; `undefined` if that frame is
 * incomplete or has no table.
 */
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
