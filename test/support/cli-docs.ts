/** `docs/cli.md`, made of the commands themselves. */

import { PassThrough } from "node:stream";
import type { Command } from "commander";
import { programOf } from "../../src/cli/run-cli.ts";

/** The commands, for a terminal that nobody looks at. */
export function commandLine(): Command {
  const stream = (): PassThrough => new PassThrough();
  return programOf({
    stdin: stream(),
    stdout: stream(),
    stderr: stream(),
    env: {},
    signal: new AbortController().signal,
  });
}

/** The whole page. */
export function commandLineDocs(): string {
  const program = commandLine();
  const common = program.commands.find((command) => command.name() === "ls")?.options.filter(isCommon) ?? [];
  const pages = program.commands
    .filter((command) => command.name() !== "help")
    .flatMap((command) => sections(command, []));
  return [
    "# The command line",
    "",
    "<!-- Generated from the commands: UPDATE_DOCS=1 npx vitest run --project unit test/docs.test.ts writes this page. -->",
    "",
    "`npx confluo --help` lists the commands.",
    "",
    "## Common options",
    "",
    "All commands that connect to a broker have these:",
    "",
    "| option | |",
    "| ------ | - |",
    ...rowsOf(common),
    "",
    "- With `--json`, errors are a line of JSON on standard error.",
    "- Commands use colours on terminals only; `NO_COLOR` turns them off.",
    "- `--debug` shows where an error came from.",
    "- An argument that begins with a dash and is no option, such as the ids of some letters, goes after `--`.",
    "- `--version` prints the version.",
    "",
    "## Exit codes",
    "",
    "| code | meaning |",
    "| ---- | ------- |",
    "| 0 | success |",
    "| 1 | the request failed |",
    "| 2 | the command was not understood |",
    "| 3 | there is no broker |",
    "| 4 | the command took too long |",
    "| 130 | the command was interrupted |",
    "",
    "## Which services the commands know",
    "",
    "AMQP cannot list queues.",
    "So `ls`, `show`, `doctor` and `dead ls` look for these services:",
    "",
    "- services that answer;",
    "- services that those call, send to or receive from;",
    "- services that are named as arguments or in `CONFLUO_SERVICES`, with commas between;",
    "- services that one of these commands saw earlier, on this machine.",
    "",
    "The commands do not see a service that is down and that none of these ways finds.",
    "Name the services that you must not miss.",
    "RETRY counts the messages in delay queues, which wait for another try or for an instance that has a handler.",
    "DELAYED, if there are any, counts the delayed messages for the service, and says how long it takes until the last of them is due.",
    "Only their senders know whose they are, so those of senders that have ended are not counted there.",
    "",
    "The commands keep the names of services whose queues they found, for each broker and namespace,",
    "in `$XDG_STATE_HOME/confluo` (`~/.local/state/confluo`; on Windows `%LOCALAPPDATA%\\confluo`).",
    "They keep nothing else: no address and no user.",
    "They forget a name when its queues are gone, for example after `confluo rm`.",
    "With `CONFLUO_STATE=off` they neither read nor keep names.",
    "If that folder cannot be written, they keep none.",
    "",
    ...pages,
  ]
    .join("\n")
    .trimEnd()
    .concat("\n");
}

function sections(command: Command, above: readonly string[]): readonly string[] {
  const names = [...above, command.name()];
  const inner = command.commands.filter((each) => each.name() !== "help");
  // A sentence a line, as in the other pages.
  const description = `${command.description().replace(/^./, (letter) => letter.toUpperCase())}.`.replaceAll(
    /\. (?=[A-Z])/g,
    ".\n",
  );
  const title = [`## confluo ${names.join(" ")}`, "", description, ""];
  if (inner.length > 0) return [...title, ...inner.flatMap((each) => sections(each, names))];
  const usage = `confluo ${names.join(" ")} ${command.usage()}`;
  const visible = command.options.filter(({ hidden }) => !hidden);
  const shown = visible.filter((option) => !isCommon(option));
  const common = shown.length < visible.length ? ["And the [common options](#common-options).", ""] : [];
  const options = rowsOf(shown);
  return [
    ...title,
    "```",
    usage,
    "```",
    "",
    ...(options.length === 0 ? [] : ["| option | |", "| ------ | - |", ...options, ""]),
    ...common,
  ];
}

function rowsOf(options: Command["options"]): readonly string[] {
  return options.map(({ flags, description }) => `| \`${flags.replaceAll("|", "\\|")}\` | ${description} |`);
}

const COMMON = new Set(["--broker", "--namespace", "--ca", "--cert", "--key", "--json"]);

/** Whether the page describes an option once, for all commands. A time limit of its own belongs to its command. */
function isCommon({ long, description }: Command["options"][number]): boolean {
  return COMMON.has(long ?? "") || (long === "--timeout" && description.endsWith("(default: 20s)"));
}
