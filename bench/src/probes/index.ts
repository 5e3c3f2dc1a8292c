/** What is measured besides messages per second. */

import type { Subject } from "../subject.ts";
import { embedded } from "./embedded.ts";
import { fleets } from "./fleet.ts";
import { listing } from "./listing.ts";
import { memoryGrowth } from "./memory-growth.ts";
import { memoryIdle } from "./memory-idle.ts";
import { memoryPending } from "./memory-pending.ts";
import { startUp } from "./start-up.ts";
import { statistics } from "./statistics.ts";
import { survival } from "./survival.ts";

/** In the order of the tables. */
export const probes: readonly Subject[] = [
  startUp,
  embedded,
  statistics,
  memoryPending,
  memoryGrowth,
  memoryIdle,
  listing,
  survival,
  ...fleets,
];
