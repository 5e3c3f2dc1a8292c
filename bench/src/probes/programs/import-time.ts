/** How long the import of the core takes, with all that it imports. */

import { sendFigures } from "./sending.ts";

const began = performance.now();
await import("../../confluo.ts");
sendFigures({ importMs: performance.now() - began });
