/** Work at the broker that takes a connection of its own, within limits. */

import { type NamedWaitLimits, waitFor } from "../async/timed-promise.ts";
import type { AmqpClient } from "./wire.ts";

/**
 * Opens a wire, works on it and closes it. The signal that the work is given fires when the limits have passed or the wire
 * is lost, with the reason; nobody waits for its end then.
 */
export function withClient<Result>(
  limits: NamedWaitLimits,
  open: (signal: AbortSignal) => Promise<AmqpClient>,
  work: (wire: AmqpClient, signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const stop = new AbortController();
  const run = async (): Promise<Result> => {
    const wire = await open(stop.signal);
    void wire.lost.then((reason) => stop.abort(reason));
    try {
      stop.signal.throwIfAborted();
      return await work(wire, stop.signal);
    } finally {
      await wire.close();
    }
  };
  return waitFor<Result>(
    limits,
    (waiter) => {
      run().then(waiter.resolve, waiter.reject);
    },
    () => stop.abort(),
  );
}
