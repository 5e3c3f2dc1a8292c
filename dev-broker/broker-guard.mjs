/**
 * A process that owns a throwaway broker: it starts the broker, and ends it and removes what it leaves behind when
 * told to, or when the process that wanted the broker is gone, however that one ended (SIGKILL too).
 */

import { execFile, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { isProgram } from "./programs.mjs";

/**
 * @typedef {object} Guarded
 * @property {string} command
 * @property {readonly string[]} args
 * @property {string} folder Where it runs; removed afterwards.
 * @property {Record<string, string>} env All of its environment.
 * @property {string} outputFile Receives stdout and stderr.
 * @property {number} [epmdPort] Port of the Erlang port mapper that was started on the way.
 * @property {readonly string[]} [afterwards] A last command to run.
 * @property {{ uid: number, gid: number }} [owner] The user that it runs as. Default: the user of this process.
 * @property {"SIGINT"} [endSignal] Ends it in order; it is killed if that takes too long. Default: it is killed at once.
 */

/**
 * @typedef {"SIGKILL" | "SIGTERM"} EndingSignal
 * @typedef {"SIGSTOP" | "SIGCONT"} PausingSignal
 *
 * @typedef {object} StartedBroker
 * @property {string} url
 * @property {import("./amqp-greeting.mjs").Greeting} greeting
 * @property {() => Promise<void>} stop
 * @property {(signal: EndingSignal) => Promise<void>} [restart] Ends the broker and starts it again with the same data
 *   and ports; resolves once it answers. Where it is missing, the broker cannot be restarted.
 * @property {(signal: PausingSignal) => void} [pause] Stops the broker as it stands, or lets it go on.
 * @property {(args: readonly string[]) => Promise<string>} [control] Runs `rabbitmqctl`; resolves with what it said.
 *
 * @typedef {object} Guard
 * @property {AbortSignal} ended Aborted when the broker has ended by itself.
 * @property {() => Promise<void>} stop Ends the broker; resolves once nothing of it is left.
 * @property {(signal: EndingSignal) => Promise<void>} restart Ends the broker with the signal and starts it again in
 *   its folder as it was; resolves once it has been started, which is before it answers.
 * @property {(signal: PausingSignal) => void} pause Sends the broker's process the signal.
 */

/** How long a broker that was asked to end may take before it is killed. */
const endTimeoutMs = 20_000;

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
  guard.on("message", (told) => {
    if (typeof told === "string") ended.abort(new Error(told));
  });
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
    async restart(signal) {
      ended.signal.throwIfAborted();
      guard.send({ restart: signal });
      await once(guard, "message", { signal: ended.signal });
    },
    pause(signal) {
      ended.signal.throwIfAborted();
      guard.send({ pause: signal });
    },
  };
}

if (isProgram(import.meta.filename) && process.send !== undefined) {
  process.once("message", (message) => guard(/** @type {Guarded} */ (message)));
  for (const signal of ["SIGINT", "SIGHUP"]) process.on(signal, () => undefined);
}

/** @param {Guarded} guarded */
function guard(guarded) {
  let stopping = false;
  let restarting = false;
  const launch = () => {
    const output = openSync(guarded.outputFile, "a");
    const started = spawn(guarded.command, guarded.args, {
      cwd: guarded.folder,
      env: guarded.env,
      ...guarded.owner,
      detached: true, // a process group of its own, to be killed as a whole
      stdio: ["ignore", output, output],
    });
    closeSync(output);
    const exited = new Promise((resolve) => {
      started.once("exit", resolve).once("error", resolve);
    });
    started.once("error", (error) => report(error.message));
    started.once("exit", (code, signal) => {
      if (!restarting) report(signal === null ? `exit code ${code}` : `signal ${signal}`);
    });
    return { pid: started.pid, exited };
  };
  let broker = launch();

  /** @param {EndingSignal} signal */
  const restart = async (signal) => {
    if (stopping || restarting) return;
    restarting = true;
    const { pid, exited } = broker;
    // Asked to end, the broker itself ends what it has started.
    if (pid !== undefined) kill(signal === "SIGTERM" ? pid : -pid, signal);
    const late = setTimeout(() => pid !== undefined && kill(-pid, "SIGKILL"), endTimeoutMs);
    await exited;
    clearTimeout(late);
    restarting = false;
    if (stopping) return;
    broker = launch();
    report({ restarted: true });
  };
  process.on("message", (/** @type {{ restart: EndingSignal } | { pause: PausingSignal }} */ message) => {
    if ("restart" in message) void restart(message.restart);
    else if (broker.pid !== undefined) kill(broker.pid, message.pause);
  });

  const stop = async () => {
    if (stopping) return;
    stopping = true;
    const { pid } = broker;
    if (pid !== undefined && guarded.endSignal !== undefined) kill(pid, guarded.endSignal);
    else if (pid !== undefined) kill(-pid, "SIGKILL");
    const late = setTimeout(() => pid !== undefined && kill(-pid, "SIGKILL"), endTimeoutMs);
    await broker.exited;
    clearTimeout(late);
    if (guarded.afterwards !== undefined) await runQuietly(guarded.afterwards, guarded.env);
    if (guarded.epmdPort !== undefined) await stopPortMapper(guarded.epmdPort);
    rmSync(guarded.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    process.exit();
  };
  process.once("SIGTERM", stop);
  process.once("disconnect", stop);
  if (!process.connected) void stop();
}

/** @param {string | { restarted: true }} told The reason why the broker has ended, or that it has been restarted. */
function report(told) {
  if (process.connected) process.send?.(told);
}

/**
 * Returns the end of what a program has printed, to be shown with its failure.
 * @param {string} outputFile
 */
export function endOfOutput(outputFile) {
  return readFileSync(outputFile, "utf8").trimEnd().split("\n").slice(-20).join("\n");
}

/**
 * @param {number} pid negative for a process group
 * @param {EndingSignal | PausingSignal | "SIGINT"} signal
 */
function kill(pid, signal) {
  try {
    process.kill(pid, signal);
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
