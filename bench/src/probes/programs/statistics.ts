/** Calls within one process whose handler runs are counted in every other slice of the time. */

import { HandlerStatsRecorder } from "../../../../dist/statistics/handler-stats.js";
import { plainCalls } from "../../case.ts";
import { send } from "../../load.ts";
import { WARM_UP_SHARE } from "../../measure.ts";
import { median } from "../../statistics.ts";
import { callService, requesterOf } from "./embedded-requester.ts";
import { sendFigures } from "./sending.ts";

const SLICE_MS = 25;

const [warmUpSeconds, seconds] = process.argv.slice(2).map(Number) as [number, number];
let counts = true;
countIfAsked();
const requester = requesterOf(await callService());

// Both ways, or the first of them would run in code that knows only one.
for (let part = 0; part < 4; part += 1) {
  counts = part % 2 === 0;
  await send(requester, plainCalls, (warmUpSeconds * 1_000 * WARM_UP_SHARE) / 4);
}
const counted: number[] = [];
const uncounted: number[] = [];
const costs: number[] = [];
for (let pair = 0; pair < (seconds * 1_000) / SLICE_MS / 2; pair += 1) {
  // In the opposite order each time, so that what drifts strikes both alike.
  const first = await slice(pair % 2 === 0);
  const second = await slice(pair % 2 !== 0);
  const [on, off] = pair % 2 === 0 ? [first, second] : [second, first];
  counted.push(on);
  uncounted.push(off);
  costs.push((on / off - 1) * 100);
}
sendFigures({
  countedUs: median(counted),
  uncountedUs: median(uncounted),
  costPercent: median(costs),
});

/** @returns CPU for a call, in microseconds. */
async function slice(isCounted: boolean): Promise<number> {
  counts = isCounted;
  const before = process.cpuUsage();
  const { count } = await send(requester, plainCalls, SLICE_MS);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

/** In both halves something is called in the same way, so that only what it does makes a difference. */
function countIfAsked(): void {
  const { began, succeeded } = HandlerStatsRecorder.prototype;
  Object.assign(HandlerStatsRecorder.prototype, {
    began(this: HandlerStatsRecorder): void {
      (counts ? began : nothing).call(this);
    },
    succeeded(this: HandlerStatsRecorder, beganAt: number, from: string): void {
      (counts ? succeeded : nothing).call(this, beganAt, from);
    },
  });
}

function nothing(): void {}
