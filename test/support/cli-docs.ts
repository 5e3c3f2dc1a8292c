/** `docs/cli.md`, made of the commands themselves. */

import { PassThrough } from "node:stream";
import type { Command } from "commander";
import { programOf } from "../../src/cli/run-cli.ts";

/** The whole page. */
export function commandLineDocs(): string {
  const stream = (): PassThrough => new PassThrough();
  const terminal = {
    stdin: stream(),
    stdout: stream(),
    stderr: stream(),
    env: {},
    signal: new AbortController().signal,
  };
  const program = programOf(terminal);
  const pages = program.commands
    .filter((command) => command.name() !== "help")
    .flatMap((command) => sections(command, []));
  return [
    "# The command line",
    "",
    "<!-- Made of the commands: UPDATE_DOCS=1 npx vitest run test/docs.test.ts writes it anew. -->",
    "",
    "`npx confluo --help` shows what is here. All commands that ask a broker take it from `--broker` or `CONFLUO_BROKER`, and the",
    "namespace from `--namespace` or `CONFLUO_NAMESPACE`. For `amqps://`, `--ca`, `--cert` and `--key` name files, as do `CONFLUO_CA`,",
    "`CONFLUO_CERT` and `CONFLUO_KEY`. With `--json` they print JSON, a value on a line; colours are for",
    "terminals, and `NO_COLOR` turns them off.",
    "",
    "AMQP lists no queues. So `ls`, `show`, `doctor` and `dead ls` look for the services that answer, that those call, send to or heard",
    "from, that are named, as arguments or in `CONFLUO_SERVICES`, with commas between, and that one of them saw here before. One that is",
    "down and that none of these know of is not seen; name what must not be missed. RETRY counts what waits in delay queues, to be tried",
    "again or for want of a handler.",
    "",
    "Names of services whose queues were found are kept for each broker and namespace in `$XDG_STATE_HOME/confluo` (`~/.local/state/confluo`;",
    "on Windows `%LOCALAPPDATA%\\confluo`), and nothing else: no address, no user. A name is forgotten when its queues are gone, as after",
    "`confluo rm`. `CONFLUO_STATE=off` neither reads nor keeps any; where that folder cannot be written, none are kept.",
    "",
    "They end with 0, or 1 if what was asked for failed, 2 if they were not understood, 3 if there is no broker, 4 if it took too",
    "long, 130 if they were interrupted. With `--json`, errors are a line of JSON on standard error, `--debug` shows where one came",
    "from. What begins with a dash and is no option, such as some letters' ids, goes after `--`. `--version` prints the version.",
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
  const description = `${command.description().replace(/^./, (letter) => letter.toUpperCase())}.`;
  const title = [`## confluo ${names.join(" ")}`, "", description, ""];
  if (inner.length > 0) return [...title, ...inner.flatMap((each) => sections(each, names))];
  const usage = `confluo ${names.join(" ")} ${command.usage()}`;
  const shown = command.options.filter(({ hidden }) => !hidden);
  const options = shown.map(
    ({ flags, description: said }) => `| \`${flags.replaceAll("|", "\\|")}\` | ${said} |`,
  );
  return [
    ...title,
    "```",
    usage,
    "```",
    "",
    ...(options.length === 0 ? [] : ["| option | |", "| ------ | - |", ...options, ""]),
  ];
}
