/** What a service costs that is connected and has nothing to do. */

import type { Subject } from "../subject.ts";
import { runFiguresProgram } from "./figures-program.ts";

export const memoryIdle: Subject = {
  name: "memory-idle",
  title: "heap for each of 100 idle services on one broker's connections, with a route and a subscription",
  quick: false,
  variants: ["confluo"],
  needs: undefined,
  needsBroker: true,
  columns: [{ key: "heapKb", title: "KB/service", digits: 1, spread: true }],
  expectSeconds: () => 6,
  measure: (_, options) =>
    runFiguresProgram("idle", { ...options, execArgv: ["--expose-gc"] }, [options.broker]),
};
