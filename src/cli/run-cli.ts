/** Parses the command line, runs the command and reports its errors. */

import { Command, CommanderError } from "commander";
import { commands } from "./commands/index.ts";
import { describeError, errorAsJson } from "./describe-error.ts";
import { EndedError, exitCodeOf, exitCodes } from "./exit-codes.ts";
import { type Terminal, writeLine } from "./terminal.ts";
import { version } from "./version.ts";

/** Runs one command line. Never rejects. @returns the exit code. */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<number> {
  const program = programOf(terminal);
  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    if (error instanceof EndedError) return error.code;
    if (terminal.signal.aborted) return exitCodes.interrupted;
    const isJson = args.includes("--json");
    writeLine(terminal.stderr, isJson ? errorAsJson(error) : describeError(error, args.includes("--debug")));
    return exitCodeOf(error);
  }
}

/** Returns the program with all commands and their help. */
export function programOf(terminal: Terminal): Command {
  const program = new Command("confluo")
    .description("Runs, observes, calls and manages services on RabbitMQ.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print the help of a command")
    .option("--debug", "show where an error came from")
    .showSuggestionAfterError()
    .showHelpAfterError("(confluo --help lists the commands)")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
      getOutHelpWidth: () => terminal.stdout.columns ?? 100,
      getErrHelpWidth: () => terminal.stderr.columns ?? 100,
    })
    .addHelpText(
      "after",
      "\nExit codes: 0 success, 1 failure, 2 usage error, 3 no broker, 4 timeout, 130 interrupted. With --json, errors are JSON, too.",
    );
  for (const setUp of commands) setUp(program, terminal);
  return program;
}
