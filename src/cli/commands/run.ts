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
      "run the services that modules export, by any name, in lists, or from a default export that is a function which makes " +
        "them, until Ctrl-C or SIGTERM; then they finish what they have. A module without any of these may export a single " +
        "function without parameters, by any name, which makes them; of several, --export says which. " +
        "--broker is for all services; without it those that were made with a broker of their own go there, and the others " +
        "to CONFLUO_BROKER, or else they meet on the embedded one, " +
        "within the process, unless NODE_ENV is production. A broker that is away is waited for. TypeScript needs Node 22.18, or " +
        "tsx: NODE_OPTIONS='--import tsx'",
    )
    .option("-e, --export <name>", "run what is exported by this name; may be given often", listOf)
    .option("-i, --instances <number>", "so many processes; needs a broker", countOf)
    .option("-w, --watch", "start again when a .js, .ts or .json file beside the modules, or below, changes")
    .option(
      "--http <address>",
      "serve /healthz, /readyz and /metrics there, such as :9464; with --instances for all of them together",
    )
    .option("--drain <duration>", "how long the end waits for what runs (default: 7s)", durationOf)
    .option(
      "--connect-timeout <duration>",
      "how long to wait for a broker that is away (default: until it is there)",
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
