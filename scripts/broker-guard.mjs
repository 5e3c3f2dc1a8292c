/**
 * A process that owns a throwaway broker: it starts the broker, and ends it and removes what it leaves behind when
 * told to, or when the process that wanted the broker is gone, however that one ended (SIGKILL too).
 */

import { execFile, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { isProgram } from "./child-process.mjs";

/**
 * @typedef {object} Guarded
 * @property {string} command
 * @property {readonly string[]} args
 * @property {string} folder Where it runs; removed afterwards.
 * @property {Record<string, string>} env All of its environment.
 * @property {string} outputFile Receives stdout and stderr.
 * @property {number} [epmdPort] Port of the Erlang port mapper that was started on the way.
 * @property {readonly string[]} [afterwards] A last command to run.
 */

/**
 * @typedef {{ url: string, greeting: import("./amqp-greeting.mjs").Greeting, stop: () => Promise<void> }} StartedBroker
 *
 * @typedef {object} Guard
 * @property {AbortSignal} ended Aborted when the broker has ended by itself.
 * @property {() => Promise<void>} stop Ends the broker; resolves once nothing of it is left.
 */

/**
 * @param {Guarded} guarded
 * @returns {Guard}
 */
export function startGuarded(guarded) {
  // Detached: Ctrl-C in the terminal must reach the tests, not the broker under them.
  const guard = fork(import.meta.filename, [], {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    execArgv: [],
    env: guarded.env,
  });
  const ended = new AbortController();
  const exited = once(guard, "exit");
  guard.on("message", (reason) => ended.abort(new Error(String(reason))));
  guard.once("error", (error) => ended.abort(error));
  guard.once("exit", () => ended.abort(new Error("its guard process has ended")));
  guard.send(guarded);
  // A broker that nobody stops must not keep its user running: the guard sees the channel close.
  guard.unref();
  guard.channel?.unref();
  return {
    ended: ended.signal,
    async stop() {
      if (guard.exitCode !== null || guard.signalCode !== null) return;
      guard.ref();
      if (guard.connected) guard.disconnect();
      await exited;
    },
  };
}

if (isProgram(import.meta.filename) && process.send !== undefined) {
  process.once("message", (message) => guard(/** @type {Guarded} */ (message)));
  for (const signal of ["SIGINT", "SIGHUP"]) process.on(signal, () => undefined);
}

/** @param {Guarded} guarded */
function guard(guarded) {
  const output = openSync(guarded.outputFile, "a");
  const broker = spawn(guarded.command, guarded.args, {
    cwd: guarded.folder,
    env: guarded.env,
    detached: true, // a process group of its own, to be killed as a whole
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  const exited = new Promise((resolve) => {
    broker.once("exit", resolve).once("error", resolve);
  });
  broker.once("error", (error) => report(error.message));
  broker.once("exit", (code, signal) => report(signal === null ? `exit code ${code}` : `signal ${signal}`));

  let stopping = false;
  const stop = async () => {
    if (stopping) return;
    stopping = true;
    if (broker.pid !== undefined) kill(broker.pid);
    await exited;
    if (guarded.afterwards !== undefined) await runQuietly(guarded.afterwards, guarded.env);
    if (guarded.epmdPort !== undefined) await stopPortMapper(guarded.epmdPort);
    rmSync(guarded.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    process.exit();
  };
  process.once("SIGTERM", stop);
  process.once("disconnect", stop);
  if (!process.connected) void stop();
}

/** @param {string} reason */
function report(reason) {
  if (process.connected) process.send?.(reason);
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

/**
 * @param {readonly string[]} command
 * @param {Record<string, string>} env
 */
function runQuietly([program = "", ...args], env) {
  return new Promise((resolve) => execFile(program, args, { env, timeout: 30_000 }, resolve));
}

/**
 * The node started its port mapper as a daemon, so it has no parent to kill it; it ends on this request of the
 * Erlang distribution protocol (`KILL_REQ`), as `epmd -kill` sends it.
 * @param {number} port
 */
function stopPortMapper(port) {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: 2_000 }, () => socket.write("\0\x01k"));
    socket.resume();
    socket.once("timeout", () => socket.destroy());
    socket.once("error", () => undefined);
    socket.once("close", resolve);
  });
}
