/** Waits that a signal ends. */

interface AbortWaiters {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

// For each signal that anyone here waits on, one listener. Entries go with their last callback.
const waitingOn = new WeakMap<AbortSignal, AbortWaiters>();

/**
 * Calls back once when the signal fires. However many wait on a signal, it gets one listener: a program may pass one to
 * a thousand calls, and Node warns from the eleventh on.
 *
 * @returns a function that ends this; calling it again does nothing.
 */
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

/**
 * A promise's outcome, or the signal's reason if that fires first, also before. The promise may then still reject: nobody
 * hears of it.
 */
export async function untilAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  work.catch(() => undefined);
  signal.throwIfAborted();
  let stopListening: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stopListening = onAbort(signal, () => reject(signal.reason));
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    stopListening?.();
  }
}

/** Resolves after a time; rejects with the signal's reason if that fires first. */
export function delay(ms: number, signal: AbortSignal): Promise<void> {
  return elapsed((callback) => setTimeout(callback, ms), signal);
}

/** The same, but does not hold the process: for a look at something that matters only while there is other work. */
export function idleDelay(ms: number, signal: AbortSignal): Promise<void> {
  return elapsed((callback) => setTimeout(callback, ms).unref(), signal);
}

async function elapsed(start: (callback: () => void) => NodeJS.Timeout, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = start(resolve);
  });
  try {
    await untilAborted(over, signal);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A promise's outcome, or a rejection with the error made for it if that takes longer. An outcome that has arrived by then
 * counts, also if the process was too busy to read it.
 */
export function withinMs<Value>(ms: number, work: Promise<Value>, overdue: () => unknown): Promise<Value> {
  return unlessOver(work, overdue, (callback) => afterMs(ms, callback));
}

/** Resolves when the work has settled, whatever its outcome, or after so many milliseconds: nothing depends on it. */
export async function waitAtMost(ms: number, work: Promise<unknown>): Promise<void> {
  await withinMs(ms, work, () => undefined).catch(() => undefined);
}

/**
 * As {@link withinMs}, but counts only the time in which the process could hear: a stall of the event loop, however long, counts for a
 * tenth of the time at most. For an answer of a broker, which is not silent while nobody listens.
 */
export function withinHeardMs<Value>(
  ms: number,
  work: Promise<Value>,
  overdue: () => unknown,
): Promise<Value> {
  return unlessOver(work, overdue, (callback) => afterHeardMs(ms, callback));
}

async function unlessOver<Value>(
  work: Promise<Value>,
  overdue: () => unknown,
  start: (callback: () => void) => () => void,
): Promise<Value> {
  work.catch(() => undefined);
  let stop: (() => void) | undefined;
  const late = new Promise<never>((_, reject) => {
    stop = start(() => reject(overdue()));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    stop?.();
  }
}

/**
 * Calls back after a time, when all that had arrived by then has been read: after a stall of the event loop, timers fire
 * before the sockets are read.
 *
 * @returns a function that ends this; calling it again does nothing.
 */
export function afterMs(ms: number, callback: () => void): () => void {
  let reading: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    // Twice: what is read first may have more behind it.
    reading = setImmediate(() => {
      reading = setImmediate(callback);
    });
  }, ms);
  return () => {
    clearTimeout(timer);
    clearImmediate(reading);
  };
}

const PARTS = 10;

function afterHeardMs(ms: number, callback: () => void): () => void {
  let stop: () => void;
  const wait = (left: number): void => {
    stop = afterMs(ms / PARTS, left === 1 ? callback : () => wait(left - 1));
  };
  wait(PARTS);
  return () => stop();
}
