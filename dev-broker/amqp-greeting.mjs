/** The first words of an AMQP connection: enough to know that a broker is up and which version it is. */

import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";

/** @typedef {{ product: string, version: string }} Greeting How a broker names itself. */

const protocolHeader = Buffer.from("AMQP\0\0\x09\x01", "latin1");

/**
 * Asks until the broker answers.
 * @param {string} url
 * @param {{ timeoutMs: number, signal?: AbortSignal }} options `signal`: waiting has become vain.
 * @returns {Promise<Greeting>}
 */
export async function waitForBroker(url, { timeoutMs, signal }) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await readGreeting(url, Math.max(1, Math.min(2_000, deadline - Date.now())));
    } catch (error) {
      if (Date.now() >= deadline) throw error;
    }
    await delay(100);
  }
}

/**
 * @param {string} url
 * @param {number} timeoutMs
 * @returns {Promise<Greeting>}
 */
function readGreeting(url, timeoutMs) {
  const { protocol, hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    // The greeting holds no secret, nor is one sent: whose certificate it is does not matter here.
    const socket =
      protocol === "amqps:"
        ? connectTls({ host, port: Number(port || 5671), rejectUnauthorized: false })
        : connect({ host, port: Number(port || 5672) });
    let received = Buffer.alloc(0);
    const timer = setTimeout(() => socket.destroy(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    socket.once(protocol === "amqps:" ? "secureConnect" : "connect", () => socket.write(protocolHeader));
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      try {
        const greeting = parseStart(received);
        if (greeting === undefined) return;
        resolve(greeting);
        socket.destroy();
      } catch (error) {
        socket.destroy(/** @type {Error} */ (error));
      }
    });
    socket.once("error", reject);
    socket.once("close", () => {
      clearTimeout(timer);
      reject(new Error("the connection was closed before an AMQP greeting came"));
    });
  });
}

/**
 * Reads `connection.start`: a method frame whose first table describes the server.
 * @param {Buffer} received
 * @returns {Greeting | undefined} undefined while the frame is incomplete
 */
function parseStart(received) {
  if (received.length < 7) return undefined;
  if (received[0] !== 1) throw new Error("what answers there does not speak AMQP 0-9-1");
  const end = 7 + received.readUInt32BE(3);
  if (received.length < end) return undefined;
  const payload = received.subarray(7, end);
  return {
    product: readProperty(payload, "product") ?? "AMQP broker",
    version: readProperty(payload, "version") ?? "(unknown version)",
  };
}

/**
 * @param {Buffer} payload
 * @param {string} name
 */
function readProperty(payload, name) {
  // A table entry is a short string, a type (`S`: long string) and the value.
  const key = Buffer.from(`${String.fromCharCode(name.length)}${name}S`, "latin1");
  const start = payload.indexOf(key);
  if (start === -1) return undefined;
  const value = start + key.length + 4;
  return payload.toString("utf8", value, value + payload.readUInt32BE(value - 4));
}
