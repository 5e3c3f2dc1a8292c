/** What it costs that runs are counted and timed. */

import { WARM_UP_SHARE } from "../measure.ts";
import type { Subject } from "../subject.ts";
import { runFiguresProgram } from "./figures-program.ts";

/** So many slices, with and without in turn: what is sought is less than one process differs from the next. */
const SHARES = 5;

export const statistics: Subject = {
  name: "statistics",
  title:
    "calls within one process, 64 in flight, with and without counting and timing what handlers do, in turn",
  quick: false,
  variants: ["confluo"],
  needs: undefined,
  needsBroker: false,
  columns: [
    { key: "uncountedUs", title: "CPU µs/call without", digits: 2 },
    { key: "countedUs", title: "with", digits: 2 },
    { key: "costPercent", title: "cost in %", digits: 2 },
  ],
  expectSeconds: (seconds) => seconds * (SHARES + WARM_UP_SHARE) + 0.3,
  measure: (_variant, options) =>
    runFiguresProgram("statistics", options, [String(options.seconds), String(options.seconds * SHARES)]),
};
