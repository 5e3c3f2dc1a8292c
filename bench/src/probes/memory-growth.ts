/** Whether calls that are over leave something behind. */

import { plainCalls } from "../case.ts";
import type { Program } from "../program.ts";
import type { Subject } from "../subject.ts";
import { Troupe } from "../troupe.ts";

const CALLS = 1_000_000;
/** One part of them, after each of which they are counted. */
const PART_MS = 5_000;
const WARM_UP_MS = 3_000;

export const memoryGrowth: Subject = {
  name: "memory-growth",
  title: `growth of the heap over ${CALLS.toLocaleString("en")} calls`,
  quick: false,
  // Each takes a minute or more: the others' memory is their own business.
  variants: ["raw", "confluo"],
  needs: "calls",
  needsBroker: true,
  columns: [
    { key: "requesterKb", title: "requester KB", digits: 0 },
    { key: "handlerKb", title: "handler KB", digits: 0 },
  ],
  expectSeconds: () => WARM_UP_MS / 1_000 + 75,
  measure: async (variant, options) => {
    const measured = { ...plainCalls, name: "memory-growth" };
    const troupe = new Troupe(variant, measured, { ...options, execArgv: ["--expose-gc"] });
    try {
      const handler = await troupe.start("service-0");
      const requester = await troupe.start();
      const load = async (ms: number): Promise<number> =>
        (await requester.ask({ kind: "load", load: measured.load, ms }, "sent", ms)).sent.count;
      await load(WARM_UP_MS);
      const before = await readHeaps(requester, handler);
      for (let count = 0; count < CALLS; count += await load(PART_MS));
      const after = await readHeaps(requester, handler);
      return {
        requesterKb: (after.requester - before.requester) / 1_000,
        handlerKb: (after.handler - before.handler) / 1_000,
      };
    } finally {
      await troupe.end();
    }
  },
};

async function readHeaps(
  requester: Program,
  handler: Program,
): Promise<{ readonly requester: number; readonly handler: number }> {
  const ask = async (program: Program): Promise<number> =>
    (await program.ask({ kind: "heap" }, "heap")).bytes;
  return { requester: await ask(requester), handler: await ask(handler) };
}
