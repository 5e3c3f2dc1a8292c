/** `confluo run`: runs services in one process, or in several. */

import { Option } from "commander";
import { consoleLogger, isConfluoError } from "../../index.ts";
import { adopt, type CommandSetup, countOf, durationOf, withAddressFlags } from "../broker-flags.ts";
import { EndedError, exitCodeOf } from "../exit-codes.ts";
import { runMany, runWatched } from "../run/run-apart.ts";
import { FROM_ENVIRONMENT, type RunFlags } from "../run/run-flags.ts";
import { runHere } from "../run/run-here.ts";

export const runCommand: CommandSetup = (program, terminal) => {
  withAddressFlags(program.command("run <files...>"))
    .description(
      "run the services that modules export, until Ctrl-C or SIGTERM; then the services finish their running handlers. " +
        "A module exports services by any name, in lists, or by a default export that is a function that makes them. " +
        "A module without any of these may export a single function without parameters, by any name, that makes them; " +
        "if there are several such functions, --export selects. " +
        "With --broker, all services connect to that broker. " +
        "Without it, a service that was made with a broker of its own connects to that one, and the others connect to " +
        "CONFLUO_BROKER, or else to the embedded broker within the process, unless NODE_ENV is production. " +
        "The command waits for a broker that is away. " +
        "TypeScript needs Node 22.18, or tsx: NODE_OPTIONS='--import tsx'",
    )
    .option("-e, --export <name>", "run the export of this name; may be given several times", listOf)
    .option("-i, --instances <number>", "number of processes; needs a broker", countOf)
    .option("-w, --watch", "restart when a .js, .ts or .json file in or below the modules' folders changes")
    .option(
      "--http <address>",
      "serve /healthz, /readyz and /metrics at this address, such as :9464; with --instances for all processes together",
    )
    .option("--drain <duration>", "how long a shutdown waits for running handlers (default: 7s)", durationOf)
    .option(
      "--connect-timeout <duration>",
      "how long to wait for a broker that is away (default: no limit)",
      durationOf,
    )
    .addOption(new Option("--no-embedded").hideHelp())
    .action(async (files: string[], given: RunFlags) => {
      const { broker, ...others } = given;
      const address = broker === undefined || broker === FROM_ENVIRONMENT ? {} : { broker };
      const flags: RunFlags = { ...others, ...address, isForAll: broker !== undefined };
      try {
        adopt(flags, terminal);
        if (flags.watch) await runWatched(files, flags, terminal);
        else if ((flags.instances ?? 1) > 1) await runMany(files, flags, terminal);
        else await runHere(files, flags, terminal);
      } catch (error) {
        const { debug } = program.opts<{ readonly debug?: true }>();
        if (error instanceof EndedError || terminal.signal.aborted || debug) throw error;
        // The error is logged like the lines of the services, so that log collectors get it, too.
        if (isConfluoError(error)) consoleLogger.error({ code: error.code }, error.message);
        else consoleLogger.error({ err: error }, "The services could not run.");
        throw new EndedError(exitCodeOf(error));
      }
    });
};

function listOf(name: string, before: readonly string[] = []): readonly string[] {
  return [...before, name];
}
