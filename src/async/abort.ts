/** Waits that end when a signal aborts, or after a time. */

interface AbortWaiters {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

// One listener for each signal that this module waits on. An entry is removed with its last callback.
const waitingOn = new WeakMap<AbortSignal, AbortWaiters>();

/**
 * Calls back once when the signal aborts. Adds only one listener to a signal, however many callbacks wait on it: a program may
 * pass one signal to a thousand calls, and Node warns from the eleventh listener on.
 *
 * @returns a function that removes the callback; calling it again does nothing.
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
 * Settles like a promise, or rejects with the signal's reason if the signal aborts first or has already aborted. A later
 * rejection of the promise is ignored.
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

/** Resolves after a time; rejects with the signal's reason if the signal aborts first. */
export function delay(ms: number, signal: AbortSignal): Promise<void> {
  return elapsed((callback) => setTimeout(callback, ms), signal);
}

/**
 * Works like {@link delay}, but its timer does not keep the process alive. For checks that matter only while the process has
 * other work.
 */
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
 * Settles like a promise, or rejects with the error from `overdue` if the promise takes longer than a time. A promise that has
 * settled by then wins, even if the event loop was too busy to notice it in time.
 */
export function withinMs<Value>(ms: number, work: Promise<Value>, overdue: () => unknown): Promise<Value> {
  return unlessOver(work, overdue, (callback) => afterMs(ms, callback));
}

/** Resolves when the work has settled, whether it succeeded or failed, or after a number of milliseconds. */
export async function waitAtMost(ms: number, work: Promise<unknown>): Promise<void> {
  await withinMs(ms, work, () => undefined).catch(() => undefined);
}

/**
 * Works like {@link withinMs}, but counts a stall of the event loop, however long, as a tenth of the time at most. For the
 * answers of a broker: they may have arrived although the stalled process could not read them.
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
 * Calls back after a time, but only once all data that had arrived by then has been read. After a stall of the event loop,
 * timers would otherwise fire before the sockets are read.
 *
 * @returns a function that cancels the callback; calling it again does nothing.
 */
export function afterMs(ms: number, callback: () => void): () => void {
  let reading: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    // Two turns of the event loop, because the first read may not return all data.
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
