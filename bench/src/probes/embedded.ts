/** Calls on the embedded broker, in one process, beside less than a broker. */

import { WARM_UP_SHARE } from "../measure.ts";
import type { Subject } from "../subject.ts";
import { runFiguresProgram } from "./figures-program.ts";

export const embedded: Subject = {
  name: "embedded",
  title: "calls within one process, 64 in flight, beside a bare matcher of topics with JSON",
  quick: false,
  variants: ["matcher", "confluo"],
  needs: undefined,
  needsBroker: false,
  columns: [
    { key: "perSecond", title: "calls/s", digits: 0, spread: true, yardstick: "matcher" },
    { key: "cpuUs", title: "CPU µs/call", digits: 2 },
  ],
  expectSeconds: (seconds) => seconds * (1 + WARM_UP_SHARE) + 0.3,
  measure: (variant, options) => runFiguresProgram("embedded", options, [variant, String(options.seconds)]),
};
