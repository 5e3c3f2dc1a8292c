/** The other end of `figures-program.ts`. */

import type { Figures } from "../../subject.ts";

/** Tells the figures; the process ends once they have arrived, or when nobody wants them any more. */
export function sendFigures(figures: Figures): void {
  process.send?.(figures);
}

process.on("disconnect", () => process.exit());
