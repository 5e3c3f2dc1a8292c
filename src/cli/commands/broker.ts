/** `confluo broker`: runs a temporary RabbitMQ, which is stopped when the command ends. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { startDevBroker } from "#dev-broker";
import type { CommandSetup } from "../broker-flags.ts";
import { EndedError, exitCodes } from "../exit-codes.ts";
import { untilEnded, writeJson, writeLine } from "../terminal.ts";

export const brokerCommand: CommandSetup = (program, terminal) => {
  program
    .command("broker [command...]")
    .description(
      "start a temporary RabbitMQ: an installed one as a private node, else a Docker container. " +
        "With a command, run it with CONFLUO_BROKER set, and stop RabbitMQ when the command ends. " +
        "Without a command, print the URL, and stop RabbitMQ at Ctrl-C",
    )
    .option("--json", "print url, version and kind as JSON")
    .addHelpText("after", "\nExample: confluo broker -- confluo run services/*.js")
    .action(async ([name, ...args]: string[], { json }: { readonly json?: true }) => {
      const { env, signal, stderr, stdout } = terminal;
      const broker = await startDevBroker({ env, log: (line) => writeLine(stderr, line) });
      try {
        const { url, version, kind } = broker;
        if (json) writeJson(terminal, { url, version, kind });
        else if (name === undefined) writeLine(stdout, url);
        if (name === undefined) {
          if (stdout.isTTY)
            writeLine(stderr, `RabbitMQ ${version}. export CONFLUO_BROKER=${url}; Ctrl-C stops it.`);
          await untilEnded(terminal);
          return;
        }
        const child = spawn(name, args, { env: { ...env, CONFLUO_BROKER: url }, stdio: "inherit" });
        const stop = (): void => void child.kill("SIGTERM");
        signal.addEventListener("abort", stop, { once: true });
        const [code] = (await once(child, "exit")) as [number | null];
        if (code !== 0) throw new EndedError(code ?? exitCodes.failed);
      } finally {
        await broker.stop();
      }
    });
};
