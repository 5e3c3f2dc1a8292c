/**
 * A message whose header table amqplib cannot decode. amqplib ends the connection for it; the broker then delivers the same
 * message again, for ever. RabbitMQ itself takes tables that are nested some ten thousand levels deep, where amqplib's
 * decoder runs out of stack.
 */

/** What is used of amqplib's connection, which does not document it; without it everything works but this. */
interface Receiver {
  /** What has been read from the socket and not been decoded. */
  rest?: Buffer;
  /** Takes the next frame from `rest`, then decodes it. */
  recvFrame?(): unknown;
}

const CONTENT_HEADER = 2;
const FRAME_START = 7; // type, channel, size
const PROPERTIES_START = 14; // class, weight, body size, flags
const FLAGS = 12;
const HAS_CONTENT_TYPE = 0x8000;
const HAS_CONTENT_ENCODING = 0x4000;
const HAS_HEADERS = 0x2000;

/** From now on such a message is received with an empty header table. */
export function readUnreadableHeadersAsNone(connection: Receiver): void {
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
  if (bytes[0] !== CONTENT_HEADER) return undefined;
  const end = FRAME_START + bytes.readUInt32BE(3);
  const payload = bytes.subarray(FRAME_START, end);
  const flags = payload.readUInt16BE(FLAGS);
  if ((flags & HAS_HEADERS) === 0) return undefined;
  let at = PROPERTIES_START;
  for (const flag of [HAS_CONTENT_TYPE, HAS_CONTENT_ENCODING])
    if ((flags & flag) !== 0) at += 1 + payload.readUInt8(at);
  const after = at + 4 + payload.readUInt32BE(at);
  const content = Buffer.concat([payload.subarray(0, at), Buffer.alloc(4), payload.subarray(after)]);
  const start = Buffer.from(bytes.subarray(0, FRAME_START));
  start.writeUInt32BE(content.length, 3);
  return Buffer.concat([start, content, bytes.subarray(end, end + 1)]);
}
