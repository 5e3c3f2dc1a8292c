#!/usr/bin/env node
/** The executable `confluo`. */

import { runCli } from "./run-cli.ts";

// With the drain of 7 s, this stays below the 10 s that a container usually gets to stop.
const END_MS = 1_000;
const { stdin, stdout, stderr, env } = process;
// Removes users and passwords from URLs in the process title, because every user of the machine can list processes.
const shown = process.argv.slice(1).map((arg) => arg.replace(/:\/\/\S*@/g, "://…@"));
if (shown.some((arg, at) => arg !== process.argv[at + 1]))
  process.title = ["confluo", ...shown.slice(1)].join(" ");
const stop = new AbortController();
const seen = new Set<string>();
let code: number | undefined;
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.on(name, () => {
    // A second signal ends the process at once. On Ctrl-C, a process started by a command gets SIGINT and then a SIGTERM from
    // its parent. These are different signals, so they do not count as a second one.
    if (seen.has(name) || code !== undefined) process.exit(code ?? 130);
    seen.add(name);
    stop.abort(new Error("interrupted"));
  });
// The program that started this process has ended, so this process must end, too.
process.once("disconnect", () => stop.abort(new Error("the process that started this one is gone")));
process.channel?.unref();
// It is not an error if a reader such as `head` stops reading. The command then ends successfully.
let readerLeft = false;
stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_DESTROYED") throw error;
  readerLeft = true;
  stop.abort(new Error("nobody reads this any more"));
});
stderr.on("error", () => undefined);
const ended = await runCli(process.argv.slice(2), { stdin, stdout, stderr, env, signal: stop.signal });
code = readerLeft ? 0 : ended;
process.exitCode = code;
// Operations under way, such as acknowledgements of letters, may still complete. Open timers or connections of a module that
// `run` has loaded delay the exit only for this time.
setTimeout(() => process.exit(code), END_MS).unref();
