/** SIGINT and SIGTERM, for all services of a process with one listener each: Node warns from the eleventh on. */

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

const waiting = new Set<() => void>();

/**
 * Calls back at the first SIGINT or SIGTERM. Nobody listens any more by then, so that a second one ends the process.
 *
 * @returns a function that ends this; calling it again does nothing.
 */
export function onStopSignal(callback: () => void): () => void {
  if (waiting.size === 0) for (const name of SIGNALS) process.on(name, tell);
  const own = (): void => callback();
  waiting.add(own);
  return () => {
    if (waiting.delete(own) && waiting.size === 0) stopListening();
  };
}

function tell(): void {
  stopListening();
  const callbacks = [...waiting];
  waiting.clear();
  for (const callback of callbacks) callback();
}

function stopListening(): void {
  for (const name of SIGNALS) process.removeListener(name, tell);
}
