#!/usr/bin/env node
/** The bin `confluo`. */

import { runCli } from "./run-cli.ts";

const stop = new AbortController();
let signals = 0;
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.on(name, () => {
    signals += 1;
    // Whoever asks twice wants it to end now.
    if (signals > 1) process.exit(130);
    stop.abort(new Error("interrupted"));
  });
// A reader such as `head` that has seen enough is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
const { stdin, stdout, stderr, env } = process;
process.exitCode = await runCli(process.argv.slice(2), { stdin, stdout, stderr, env, signal: stop.signal });
