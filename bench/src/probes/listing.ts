/** How long one waits for `confluo ls`. */

import type { Subject } from "../subject.ts";
import { runFiguresProgram } from "./figures-program.ts";

export const listing: Subject = {
  name: "listing",
  title: "confluo ls with 50 instances of 10 services in one process, from its start to its end",
  quick: false,
  variants: ["confluo"],
  needs: undefined,
  needsBroker: true,
  columns: [
    { key: "listMs", title: "ms", digits: 0, spread: true },
    { key: "versionMs", title: "of that, Node and the command line (confluo --version)", digits: 0 },
  ],
  expectSeconds: () => 10,
  measure: (_, options) => runFiguresProgram("listing", options, [options.broker]),
};
