/** What becomes of calls when the instance dies that has them. */

import { plainCalls } from "../case.ts";
import type { Subject } from "../subject.ts";
import { Troupe } from "../troupe.ts";
import { variants } from "../variants/index.ts";

const CALLS = 40;
/** How long a handler works on one. */
const WORK_MS = 200;
/**
 * When one of the two instances dies: none is answered, and each has as many in hand as its prefetch lets it. One that takes
 * few at a time has little to lose.
 */
const KILL_AFTER_MS = 100;
/** Longer than a call waits by default, here and in most other places. */
const WITHIN_MS = 25_000;

export const survival: Subject = {
  name: "survival",
  title: `${CALLS} calls to two instances, one of which is killed while it handles its share`,
  quick: false,
  variants: Object.keys(variants),
  needs: "calls",
  needsBroker: true,
  columns: [
    { key: "answered", title: "answered", digits: 0 },
    { key: "failed", title: "failed", digits: 0 },
    { key: "hung", title: `hung for ${WITHIN_MS / 1_000} s`, digits: 0 },
    { key: "lastMs", title: "last outcome after ms", digits: 0 },
  ],
  expectSeconds: () => 6,
  measure: async (variant, options) => {
    const measured = { ...plainCalls, name: "survival", instances: 2, work: { waitMs: WORK_MS } };
    const troupe = new Troupe(variant, measured, options);
    try {
      await troupe.start("service-0");
      const victim = await troupe.start("service-0");
      const requester = await troupe.start();
      // So that nothing is slow for being new.
      await requester.ask({ kind: "volley", count: CALLS, withinMs: WITHIN_MS }, "outcomes", WITHIN_MS);
      const volley = requester.ask(
        { kind: "volley", count: CALLS, withinMs: WITHIN_MS },
        "outcomes",
        WITHIN_MS,
      );
      const killed = new Promise((resolve) => setTimeout(resolve, KILL_AFTER_MS)).then(() => victim.kill());
      const [{ outcomes }] = await Promise.all([volley, killed]);
      return { ...outcomes };
    } finally {
      await troupe.kill();
    }
  },
};
