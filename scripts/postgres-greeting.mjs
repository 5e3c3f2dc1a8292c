/** The first words of a connection to PostgreSQL: enough to know that a server is up and takes connections. */

import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** Version 3.0 of the protocol. */
const protocolVersion = 0x0003_0000;
/** `cannot_connect_now`: the server is starting or stopping. */
const notYet = "57P03";
/** `AuthenticationOk`, with its length of eight bytes. */
const loggedIn = `R${String.fromCharCode(0, 0, 0, 8, 0, 0, 0, 0)}`;

/**
 * Asks until the server answers.
 * @param {string} url
 * @param {{ timeoutMs: number, signal?: AbortSignal }} options `signal`: waiting has become vain.
 * @returns {Promise<string>} the server's version; `(unknown version)` where it asks for a password first
 */
export async function waitForPostgres(url, { timeoutMs, signal }) {
  const deadline = Date.now() + timeoutMs;
  /** @type {unknown} */
  let last;
  for (;;) {
    signal?.throwIfAborted();
    const leftMs = deadline - Date.now();
    // The last attempt may have too little time to tell anything.
    if (leftMs <= 0) throw last;
    try {
      return await readGreeting(url, Math.min(2_000, leftMs));
    } catch (error) {
      last = leftMs < 100 ? (last ?? error) : error;
    }
    await delay(50);
  }
}

/**
 * @param {string} url
 * @param {number} timeoutMs
 * @returns {Promise<string>}
 */
function readGreeting(url, timeoutMs) {
  const { hostname, port, username, pathname } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  const user = decodeURIComponent(username) || "postgres";
  const database = decodeURIComponent(pathname.slice(1)) || user;
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port || 5432) }, () => socket.write(startup(user, database)));
    let received = "";
    const timer = setTimeout(() => socket.destroy(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    socket.setEncoding("latin1").on("data", (text) => {
      received += text;
      const version = /server_version\0([^\0]+)\0/.exec(received)?.[1];
      // `R` asks for a password or says that none is needed; after `E` comes a reason, which is an answer, too.
      const said = received.startsWith(loggedIn) ? received.slice(loggedIn.length) : received;
      const isRefused = said.startsWith("E") && said.endsWith("\0\0");
      if (isRefused && received.includes(notYet)) socket.destroy(new Error("the server is starting"));
      else if (version !== undefined || isRefused || asksForPassword(received)) {
        resolve(version?.split(" ")[0] ?? "(unknown version)");
        socket.destroy();
      }
    });
    socket.once("error", reject);
    socket.once("close", () => {
      clearTimeout(timer);
      reject(new Error("the connection was closed before PostgreSQL had answered"));
    });
  });
}

/** @param {string} received */
function asksForPassword(received) {
  return received.startsWith("R") && received.length >= 9 && received.slice(5, 9) !== "\0\0\0\0";
}

/**
 * @param {string} user
 * @param {string} database
 */
function startup(user, database) {
  const parameters = Buffer.from(`user\0${user}\0database\0${database}\0\0`, "utf8");
  const head = Buffer.alloc(8);
  head.writeUInt32BE(head.length + parameters.length, 0);
  head.writeUInt32BE(protocolVersion, 4);
  return Buffer.concat([head, parameters]);
}
