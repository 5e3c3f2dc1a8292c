/** A clock of its own thread, so that calls begin when they are due however busy the caller is. */

import { parentPort, workerData } from "node:worker_threads";

const { perSecond, ms, origin } = workerData as { perSecond: number; ms: number; origin: number };
const sleeping = new Int32Array(new SharedArrayBuffer(4));
const now = (): number => performance.timeOrigin + performance.now() - origin;

// Exponential gaps: as independent callers make them.
const gap = (): number => (-Math.log(1 - Math.random()) / perSecond) * 1_000;

for (let next = gap(); next < ms; ) {
  const wait = next - now();
  if (wait > 0) Atomics.wait(sleeping, 0, 0, wait);
  const due: number[] = [];
  for (const at = now(); next <= at && next < ms; next += gap()) due.push(next);
  if (due.length > 0) parentPort?.postMessage(due);
}
