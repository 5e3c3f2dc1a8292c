/** Calls on the embedded broker, in one process: beside less than a broker, and beside less than all that confluo does. */

import { WARM_UP_SHARE } from "../measure.ts";
import type { Subject } from "../subject.ts";
import { runFiguresProgram } from "./figures-program.ts";

export const embedded: Subject = withinOneProcess({
  name: "embedded",
  title: "calls within one process, 64 in flight, beside a bare matcher of topics with JSON",
  yardstick: "matcher",
});

export const statistics: Subject = withinOneProcess({
  name: "statistics",
  title: "calls within one process, 64 in flight, with and without counting and timing what handlers do",
  yardstick: "uncounted",
});

function withinOneProcess({
  name,
  title,
  yardstick,
}: Pick<Subject, "name" | "title"> & { readonly yardstick: string }): Subject {
  return {
    name,
    title,
    quick: false,
    variants: [yardstick, "confluo"],
    needs: undefined,
    needsBroker: false,
    columns: [
      { key: "perSecond", title: "calls/s", digits: 0, spread: true, yardstick },
      { key: "cpuUs", title: "CPU µs/call", digits: 2 },
    ],
    expectSeconds: (seconds) => seconds * (1 + WARM_UP_SHARE) + 0.3,
    measure: (variant, options) => runFiguresProgram("embedded", options, [variant, String(options.seconds)]),
  };
}
