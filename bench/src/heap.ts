/** How much memory of JavaScript's this process uses. */

const SETTLING_MS = 2_500;

/** Bytes, after what was under way has gone out and what is garbage has been collected. Needs Node's `--expose-gc`. */
export async function readHeap(): Promise<number> {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error("To read the heap, Node has to be started with --expose-gc.");
  await new Promise((resolve) => setTimeout(resolve, SETTLING_MS));
  // What the first collection finalizes, the second one frees.
  gc();
  gc();
  return process.memoryUsage().heapUsed;
}
