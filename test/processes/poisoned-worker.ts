/** An instance whose process a message ends or blocks, in the way and at the moment that its body says. */

import { appendFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Broker, Service, silentLogger } from "../../src/index.ts";

/** A line of the ledger that no message made. */
export const CONNECTED = "connected";

/** How a message ends the process that handles it. */
export type Death = "exit" | "abort" | "memory" | "throw";

/** A body that ends the process, or that keeps it busy. */
export interface Poison {
  readonly name: string;
  readonly death?: Death;
  /** When it ends the process, or else is answered, in milliseconds; 0: in the handler's own turn. */
  readonly afterMs?: number;
  /** How long the event loop stands still, in milliseconds. */
  readonly blockMs?: number;
}

const [url = "", namespace = "", ledger = "", calls = ""] = process.argv.slice(2);

function die(death: Death): void {
  switch (death) {
    case "exit":
      process.exit(1);
      break;
    case "abort":
      process.abort();
      break;
    case "memory": {
      const held: unknown[] = [];
      for (;;) held.push(new Array(1_000_000).fill(held));
    }
    case "throw":
      setTimeout(() => {
        throw new Error("nobody catches this");
      }, 0);
      break;
    default:
      death satisfies never;
  }
}

function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

function handle(body: Poison): unknown {
  const { name, death, afterMs = 0, blockMs = 0 } = body;
  appendFileSync(ledger, `${name}\n`);
  block(blockMs);
  if (death === undefined) return pause(afterMs, name);
  if (afterMs > 0) setTimeout(die, afterMs, death);
  else die(death);
  return new Promise(() => undefined);
}

if (url !== "") {
  process.on("disconnect", () => process.exit(1)); // whoever started it is gone
  const broker = new Broker(url, { namespace, logger: silentLogger });
  const concurrency = calls === "" ? {} : { calls: Number(calls) };
  const worker = new Service("worker", { broker, logger: silentLogger, concurrency });
  worker
    .route("/task", ({ body }) => handle(body as Poison))
    .subscribe("/event", ({ body }) => handle(body as Poison));
  // Before it connects: it may not live to see the end of that.
  process.send?.("ready");
  await worker.connect();
  appendFileSync(ledger, `${CONNECTED}\n`);
}
