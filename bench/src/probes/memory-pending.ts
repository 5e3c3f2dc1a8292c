/** What a call that waits for its answer costs the requester. */

import { plainCalls } from "../case.ts";
import type { Subject } from "../subject.ts";
import { Troupe } from "../troupe.ts";
import { variants } from "../variants/index.ts";

const CALLS = 20_000;
/** That wait before, so that code which is loaded late does not count. */
const FIRST = 100;
/** Longer than any of it takes: the handler never answers. */
const FOREVER_MS = 3_600_000;

export const memoryPending: Subject = {
  name: "memory-pending",
  title: `the requester's heap for each of ${CALLS.toLocaleString("en")} calls that wait with a body of 200 bytes, and what of it is not the caller's own waiting for a promise`,
  quick: false,
  variants: Object.keys(variants),
  needs: "calls",
  needsBroker: true,
  columns: [
    { key: "bytes", title: "bytes/call", digits: 0, spread: true },
    { key: "all", title: "with the caller's", digits: 0 },
  ],
  expectSeconds: () => 5,
  measure: async (variant, options) => {
    const measured = { ...plainCalls, name: "memory-pending", work: { waitMs: FOREVER_MS } };
    const troupe = new Troupe(variant, measured, { ...options, execArgv: ["--expose-gc"] });
    try {
      await troupe.start("service-0");
      const requester = await troupe.start();
      const grownBy = async (calls: "real" | "none"): Promise<number> => {
        await requester.ask({ kind: "hold", count: FIRST, calls }, "held");
        const before = await requester.ask({ kind: "heap" }, "heap");
        await requester.ask({ kind: "hold", count: CALLS, calls }, "held");
        const after = await requester.ask({ kind: "heap" }, "heap");
        return (after.bytes - before.bytes) / CALLS;
      };
      const callers = await grownBy("none");
      const all = await grownBy("real");
      return { bytes: all - callers, all };
    } finally {
      await troupe.kill();
    }
  },
};
