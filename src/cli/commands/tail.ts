/** `confluo tail`: prints events as they are published. */

import type { WatchedEvent } from "../../index.ts";
import { bodyAsJson } from "../body.ts";
import {
  type BrokerFlags,
  brokerOf,
  type CommandSetup,
  countOf,
  limitsOf,
  withBrokerFlags,
} from "../broker-flags.ts";
import { cut } from "../table.ts";
import { harmless, jsonOf, paintOf, type Terminal } from "../terminal.ts";

interface TailFlags extends BrokerFlags {
  readonly from?: string;
  readonly count?: number;
}

export const tailCommand: CommandSetup = (program, terminal) => {
  withBrokerFlags(
    program
      .command("tail [pattern]")
      .description(
        "follow events live; the pattern is that of a subscription, such as '/orders/*/placed' or '#'. " +
          "The command gets copies of its own, so no service misses an event; the copies are gone when it ends. " +
          "If its output is piped, it prints JSON, one event a line",
      )
      .option("--from <service>", "only events that this service published")
      .option("-c, --count <number>", "end after this many events", countOf),
  ).action(async (pattern: string | undefined, flags: TailFlags) => {
    const enough = deferred();
    let left = flags.count ?? Number.POSITIVE_INFINITY;
    const isJson = flags.json || !terminal.stdout.isTTY;
    const watch = await brokerOf(flags, terminal).watch(
      pattern ?? "#",
      async (event) => {
        if (left === 0 || (flags.from !== undefined && event.from !== flags.from)) return;
        left -= 1;
        await write(terminal, harmless(isJson ? jsonOf(machineForm(event)) : lineOf(event, terminal)));
        if (left === 0) enough.resolve();
      },
      limitsOf(flags, terminal),
    );
    await Promise.race([watch.ended, enough.promise]);
    await watch.close();
  });
};

function deferred(): { readonly promise: Promise<void>; resolve(): void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

// Resolves when the line was written, so that a slow reader delays the next event.
function write({ stdout }: Terminal, line: string): Promise<void> {
  return new Promise((resolve) => {
    stdout.write(`${line}\n`, () => resolve());
  });
}

function machineForm({ path, query, from, messageId, headers, bytes, body }: WatchedEvent): object {
  const at = new Date().toISOString();
  return { at, path, query, from, messageId, headers, bytes, body: bodyAsJson(body) };
}

function lineOf({ path, query, from, bytes, body }: WatchedEvent, terminal: Terminal): string {
  const paint = paintOf(terminal);
  const time = new Date().toISOString().slice(11, 23);
  const shown = body instanceof Uint8Array ? `${bytes} bytes` : (JSON.stringify(body) ?? "");
  const where = paint.strong(query === "" ? path : `${path}?${query}`);
  const room = Math.max(20, (terminal.stdout.columns ?? 120) - path.length - from.length - 20);
  return `${paint.faint(time)} ${where} ${paint.faint(from === "" ? "" : `from ${from} `)}${cut(shown, room)}`;
}
