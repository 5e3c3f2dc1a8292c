#!/usr/bin/env node
/** The bin `confluo`. */

import { runCli } from "./run-cli.ts";

// After a drain of 7 s, what is left of the 10 s that a container has.
const END_MS = 1_000;
const { stdin, stdout, stderr, env } = process;
// A URL's user and password are for the broker, not for whoever lists processes.
const shown = process.argv.slice(1).map((arg) => arg.replace(/:\/\/\S*@/g, "://…@"));
if (shown.some((arg, at) => arg !== process.argv[at + 1]))
  process.title = ["confluo", ...shown.slice(1)].join(" ");
const stop = new AbortController();
const seen = new Set<string>();
let code: number | undefined;
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.on(name, () => {
    // A second signal ends it now. Ctrl-C reaches what a command has started, too, which then gets a SIGTERM of
    // its parent: that is no second time.
    if (seen.has(name) || code !== undefined) process.exit(code ?? 130);
    seen.add(name);
    stop.abort(new Error("interrupted"));
  });
// The program that started this process is gone: as a part of that, it has nothing left to run for.
process.once("disconnect", () => stop.abort(new Error("the process that started this one is gone")));
process.channel?.unref();
// A reader such as `head` that has seen enough is no error, and its command ends as it would have.
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
// Work that was under way, such as letters that are acknowledged, comes to its end. What a module of `run` has left open, such as a
// timer or connections of its own, holds nothing up for long.
setTimeout(() => process.exit(code), END_MS).unref();
