/** Signals that many wait on: a program may pass one to a thousand calls, and Node warns from the eleventh listener on. */

interface Waiting {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

// For each signal that anyone here waits on, one listener. Entries go with their last callback.
const waitingOn = new WeakMap<AbortSignal, Waiting>();

/** Calls back once when the signal fires. @returns a function that ends this; calling it again does nothing. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let waiting = waitingOn.get(signal);
  if (waiting === undefined) {
    const callbacks = new Set<() => void>();
    const listener = (): void => {
      waitingOn.delete(signal);
      for (const each of callbacks) each();
    };
    waiting = { callbacks, listener };
    waitingOn.set(signal, waiting);
    signal.addEventListener("abort", listener, { once: true });
  }
  const { callbacks, listener } = waiting;
  const own = (): void => callback();
  callbacks.add(own);
  return () => {
    if (!callbacks.delete(own) || callbacks.size > 0 || waitingOn.get(signal)?.callbacks !== callbacks)
      return;
    waitingOn.delete(signal);
    signal.removeEventListener("abort", listener);
  };
}
