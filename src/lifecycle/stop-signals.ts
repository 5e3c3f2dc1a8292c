/**
 * SIGINT and SIGTERM for all services of a process. There is one listener for each signal, because Node warns if there are over
 * ten.
 */

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

const waiting = new Set<() => void>();

/**
 * Calls back at the first SIGINT or SIGTERM. The listeners are removed before that, so that a second signal ends the process.
 *
 * @returns a function that cancels this; calling it again does nothing.
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
