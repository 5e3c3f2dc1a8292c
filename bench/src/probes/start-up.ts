/** How soon a process that uses confluo is of use. */

import type { Subject } from "../subject.ts";
import { runFiguresProgram } from "./figures-program.ts";

/** Two processes, so that the import in the one is not the start of the other. */
export const startUp: Subject = {
  name: "start-up",
  title: "import of the core; from the process's beginning to the first answer, on the embedded broker",
  quick: false,
  variants: ["confluo"],
  needs: undefined,
  needsBroker: false,
  columns: [
    { key: "importMs", title: "import ms", digits: 1, spread: true },
    { key: "firstAnswerMs", title: "first answer ms", digits: 1, spread: true },
  ],
  expectSeconds: () => 0.6,
  measure: async (_, options) => ({
    ...(await runFiguresProgram("import-time", options)),
    ...(await runFiguresProgram("first-answer", options)),
  }),
};
