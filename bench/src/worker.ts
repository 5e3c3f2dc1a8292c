/** One program of a measurement: a handler or the requester, of one variant. */

import { type Case, cases, type Work } from "./case.ts";
import { readHeap } from "./heap.ts";
import { send as generate, hold, volley } from "./load.ts";
import type { FromWorker, Role, Sent, ToWorker } from "./messages.ts";
import { loadVariant } from "./variants/index.ts";
import type { Body, Closable, Handler, Requester } from "./variants/variant.ts";

let program: Closable | undefined;
let requester: Requester | undefined;
let measured: Case | undefined;
let handled = 0;
let wanted = Number.POSITIVE_INFINITY;

function tell(message: FromWorker): void {
  process.send?.(message);
}

function checkCount(): void {
  if (handled < wanted) return;
  handled -= wanted;
  wanted = Number.POSITIVE_INFINITY;
  tell({ kind: "counted", at: performance.timeOrigin + performance.now() });
}

function handlerFor(work: Work): Handler {
  const count = (body: Body): Body => {
    handled += 1;
    if (handled >= wanted) checkCount();
    return body;
  };
  if (work === "nothing") return count;
  if ("waitMs" in work) {
    return async (body) => {
      await new Promise((resolve) => setTimeout(resolve, work.waitMs));
      return count(body);
    };
  }
  return (body) => {
    const until = performance.now() + work.cpuMs;
    while (performance.now() < until);
    return count(body);
  };
}

async function begin({ variant, surroundings, service }: Role): Promise<void> {
  const loaded = await loadVariant(variant);
  measured = surroundings.case;
  if (service === undefined) {
    requester = await loaded.request(surroundings);
    program = requester;
  } else program = await loaded.handle(surroundings, service, handlerFor(surroundings.case.work));
  tell({ kind: "ready" });
}

function sender(): readonly [Requester, Case] {
  if (requester === undefined || measured === undefined) throw new Error("This program sends nothing.");
  return [requester, measured];
}

async function sendFor({ load, ms }: Extract<ToWorker, { kind: "load" }>): Promise<Sent> {
  const [by, of] = sender();
  return generate(by, { ...of, load }, ms);
}

async function describe(name: string): Promise<void> {
  const variant = await loadVariant(name);
  const { title, settings, loads, needs } = variant;
  const refuses = cases.filter((one) => variant.supports?.(one) === false).map(({ name }) => name);
  tell({ kind: "description", description: { title, settings, loads, needs, refuses } });
}

async function obey(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case "begin":
      return begin(message.role);
    case "load":
      return tell({ kind: "sent", sent: await sendFor(message) });
    case "hold":
      hold(...sender(), message);
      return tell({ kind: "held" });
    case "volley":
      return tell({ kind: "outcomes", outcomes: await volley(...sender(), message) });
    case "heap":
      return tell({ kind: "heap", bytes: await readHeap() });
    case "describe":
      return describe(message.variant);
    case "count":
      wanted = message.until;
      return checkCount();
    case "cpu": {
      const { user, system } = process.cpuUsage();
      return tell({ kind: "cpu", us: user + system });
    }
    case "end":
      await program?.close();
      tell({ kind: "ended" });
      process.disconnect();
      return;
    default:
      return message satisfies never;
  }
}

// Whoever wanted this program is gone, or wants it no more.
process.on("disconnect", () => process.exit());
process.on("message", (message: ToWorker) => {
  obey(message).catch((error: unknown) => {
    tell({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
  });
});
