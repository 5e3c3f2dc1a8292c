/**
 * Finds out why a broker refused to open a connection, because amqplib drops that reason. A second connection is opened for it.
 * That goes no further than the handshake of AMQP 0-9-1 (section 2.2.4) and sends what amqplib sent.
 */

import { connect as connectPlain, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectSecure } from "node:tls";
import type { BrokerUrl } from "./broker-url.ts";

const PROTOCOL_HEADER = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1]);
const METHOD = 1;
const CONNECTION = 10;
const method = { start: 10, startOk: 11, tune: 30, tuneOk: 31, open: 40, openOk: 41, close: 50 } as const;
const FRAME_START = 7; // type, channel, size
const ARGUMENTS = 4; // after class and method
const FRAME_END = 0xce;
const MOST_FRAME = 131_072;

/** The mechanism and the response of a login. */
export interface Login {
  readonly mechanism: string;
  response(): Buffer;
}

/**
 * The outcome of the attempt: the broker's reason, such as `NOT_ALLOWED - …`, or `"opened"` if the broker accepted the
 * connection with frames of the size that it proposed.
 */
export type OpenAnswer = { readonly words: string } | "opened";

/** Resolves with the broker's answer, or with `undefined` if none comes. */
export function openRefusal(
  { href, vhost }: BrokerUrl,
  login: Login,
  tls: ConnectionOptions | undefined,
  timeoutMs: number,
): Promise<OpenAnswer | undefined> {
  const { protocol, hostname, port } = new URL(href);
  const host = hostname.replace(/^\[|\]$/g, "");
  const socket =
    protocol === "amqps:"
      ? connectSecure({ servername: host, ...tls, host, port: Number(port || 5671) })
      : connectPlain({ host, port: Number(port || 5672) });
  return new Promise((resolve) => {
    const end = (said?: OpenAnswer): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(said);
    };
    const timer = setTimeout(() => end(), timeoutMs);
    socket.on("error", () => end());
    socket.on("close", () => end());
    socket.write(PROTOCOL_HEADER);
    let bytes = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= FRAME_START) {
        const size = bytes.readUInt32BE(3);
        if (bytes[0] !== METHOD || size > MOST_FRAME) return end();
        if (bytes.length < FRAME_START + size + 1) return;
        const payload = bytes.subarray(FRAME_START, FRAME_START + size);
        bytes = bytes.subarray(FRAME_START + size + 1);
        if (!answer(socket, payload, login, vhost)) return end(answerIn(payload));
      }
    });
  });
}

/** Answers a frame of the handshake. Returns whether more frames are expected. */
function answer(socket: Socket, payload: Buffer, login: Login, vhost: string): boolean {
  switch (payload.readUInt16BE(2)) {
    case method.start: {
      const noProperties = Buffer.alloc(4);
      const args = [noProperties, short(login.mechanism), long(login.response()), short("en_US")];
      send(socket, method.startOk, args);
      return true;
    }
    case method.tune:
      send(socket, method.tuneOk, [payload.subarray(ARGUMENTS)]); // accepts the broker's own values
      send(socket, method.open, [short(vhost), Buffer.alloc(2)]);
      return true;
    default:
      return false;
  }
}

function answerIn(payload: Buffer): OpenAnswer | undefined {
  const id = payload.readUInt16BE(2);
  if (id === method.openOk) return "opened";
  if (id !== method.close) return undefined;
  const at = ARGUMENTS + 2; // after the reply code
  return { words: payload.subarray(at + 1, at + 1 + payload.readUInt8(at)).toString() };
}

function send(socket: Socket, id: number, args: readonly Buffer[]): void {
  const head = Buffer.from([0, CONNECTION, 0, id]);
  const payload = Buffer.concat([head, ...args]);
  const start = Buffer.alloc(FRAME_START);
  start[0] = METHOD;
  start.writeUInt32BE(payload.length, 3);
  socket.write(Buffer.concat([start, payload, Buffer.of(FRAME_END)]));
}

function short(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

function long(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
