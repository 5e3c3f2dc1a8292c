/** `confluo call`, `send` and `publish`: the verbs as commands. */

import type { Command } from "commander";
import { type Broker, ConfluoError, isConfluoError, Service, silentLogger } from "../../index.ts";
import { bodyAsJson, bytesForHumans, readBody } from "../body.ts";
import {
  type BrokerFlags,
  brokerOf,
  type CommandSetup,
  countOf,
  delayOf,
  limitsOf,
  pairOf,
  withBrokerFlags,
} from "../broker-flags.ts";
import { type Terminal, writeJson, writeLine } from "../terminal.ts";

interface TalkFlags extends BrokerFlags {
  readonly file?: string;
  readonly text?: true;
  readonly header?: Record<string, string>;
  readonly query?: Record<string, string>;
  readonly repeat?: number;
  /** A delay in milliseconds. */
  readonly in?: number;
  readonly at?: string;
}

export const talkCommands: CommandSetup = (program, terminal) => {
  talking(program.command("call <service> <path> [body]"))
    .description("call a command and print its answer")
    .action((service: string, path: string, body: string | undefined, flags: TalkFlags) =>
      talk(terminal, { argument: body, flags }, async (own, content, options) => {
        const began = performance.now();
        const {
          status,
          headers,
          body: answer,
        } = await own.call(service, path, content, options).catch(async (error: unknown) => {
          throw isConfluoError(error, "TIMEOUT")
            ? await timeoutOf(error, service, { broker: brokerOf(flags, terminal), signal: terminal.signal })
            : error;
        });
        const ms = Number((performance.now() - began).toFixed(3));
        if (flags.json) writeJson(terminal, { status, headers, body: bodyAsJson(answer), ms });
        else if (answer instanceof Uint8Array) await writeBytes(terminal, answer);
        else if (answer !== undefined)
          writeLine(
            terminal.stdout,
            JSON.stringify(answer, undefined, terminal.stdout.isTTY ? 2 : undefined),
          );
      }),
    );
  delaying(talking(program.command("send <service> <path> [body]")))
    .description("send a one-way command; ends when the broker has confirmed it")
    .action((service: string, path: string, body: string | undefined, flags: TalkFlags) =>
      talk(terminal, { argument: body, flags }, async (own, content, options) => {
        await own.send(service, path, content, { ...options, ...delayIn(flags) });
        if (flags.json) writeJson(terminal, { sent: path, to: service });
      }),
    );
  talking(program.command("publish <path> [body]"))
    .description("publish an event; ends when the broker has confirmed it")
    .action((path: string, body: string | undefined, flags: TalkFlags) =>
      talk(terminal, { argument: body, flags }, async (own, content, options) => {
        await own.publish(path, content, options);
        if (flags.json) writeJson(terminal, { published: path });
      }),
    );
};

/** How long a call that has timed out looks for the reason, in milliseconds. */
const LOOK_MS = 1_000;

// A queue for calls outlives its last instance for a while, so that a restart is bridged: a call made then waits for nothing.
async function timeoutOf(
  error: ConfluoError,
  service: string,
  { broker, signal }: { readonly broker: Broker; readonly signal: AbortSignal },
): Promise<ConfluoError> {
  const name = `${broker.namespace}.${service}.calls`;
  const queue = await broker.queue(name, { signal, timeoutMs: LOOK_MS }).catch(() => undefined);
  if (queue?.consumers !== 0) return error;
  const why = `No instance of ${service} consumes its calls: it is down. Its queue stays for 30 s after its last instance, for a restart.`;
  return new ConfluoError("TIMEOUT", `${error.message} ${why}`, { cause: error });
}

// Writes bytes unchanged to a file or another program. A terminal gets base64, because it could interpret bytes as control
// sequences.
async function writeBytes({ stdout }: Terminal, bytes: Uint8Array): Promise<void> {
  const shown = stdout.isTTY ? `${bytesForHumans(bytes)}\n` : bytes;
  await new Promise<void>((resolve) => stdout.write(shown, () => resolve()));
}

function delaying(command: Command): Command {
  return command
    .option(
      "--in <delay>",
      "how long it waits at the broker before it is handled, such as 90s, 2h or 30d",
      delayOf,
    )
    .option(
      "--at <time>",
      "when it is due, in ISO 8601 with Z or an offset, such as 2026-12-01T09:00:00+01:00",
    );
}

function delayIn({ in: delayMs, at }: TalkFlags): { readonly delayMs?: number; readonly at?: string } {
  return { ...(delayMs === undefined ? {} : { delayMs }), ...(at === undefined ? {} : { at }) };
}

function talking(command: Command): Command {
  return withBrokerFlags(command)
    .option(
      "-f, --file <path>",
      "read the body from a file; with - as the body argument, read it from standard input",
    )
    .option("--text", "send the body as text, even if it is valid JSON")
    .option("-H, --header <name=value>", "a header; may be given several times", pairOf)
    .option("-q, --query <name=value>", "a query parameter; may be given several times", pairOf)
    .option("-r, --repeat <times>", "repeat this many times, one after the other", countOf);
}

type Options = {
  readonly timeoutMs?: number;
  readonly signal: AbortSignal;
  readonly headers?: Record<string, string>;
  readonly query?: Record<string, string>;
};

async function talk(
  terminal: Terminal,
  { argument, flags }: { readonly argument: string | undefined; readonly flags: TalkFlags },
  once: (own: Service, body: unknown, options: Options) => Promise<void>,
): Promise<void> {
  const body = await readBody({ argument, file: flags.file, isText: flags.text === true }, terminal);
  const limits = limitsOf(flags, terminal);
  const { header: headers, query, repeat = 1 } = flags;
  const options = { ...limits, ...(headers && { headers }), ...(query && { query }) };
  const own = new Service("confluo-cli", {
    broker: brokerOf(flags, terminal),
    discovery: false,
    logger: silentLogger,
  });
  try {
    await own.connect(undefined, limits);
    for (let n = 0; n < repeat; n += 1) await once(own, body, options);
  } finally {
    await own.shutdown();
  }
}
