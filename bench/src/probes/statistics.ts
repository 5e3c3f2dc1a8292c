/** What it costs that runs are counted and timed. */

import { WARM_UP_SHARE } from "../measure.ts";
import type { Subject } from "../subject.ts";
import { runFiguresProgram } from "./figures-program.ts";

const YARDSTICK = "uncounted";

export const statistics: Subject = {
  name: "statistics",
  title: "calls within one process, 64 in flight, with and without counting and timing what handlers do",
  quick: false,
  variants: [YARDSTICK, "confluo"],
  needs: undefined,
  needsBroker: false,
  columns: [
    { key: "perSecond", title: "calls/s", digits: 0, spread: true, yardstick: YARDSTICK },
    { key: "cpuUs", title: "CPU µs/call", digits: 2 },
  ],
  expectSeconds: (seconds) => seconds * (1 + WARM_UP_SHARE) + 0.3,
  measure: (variant, options) => runFiguresProgram("embedded", options, [variant, String(options.seconds)]),
};
