/** Work at the broker that takes a connection of its own, within limits. */

import { type NamedWaitLimits, waitFor } from "../async/timed-promise.ts";
import type { AmqpClient } from "./amqp-client.ts";

/**
 * Opens a client, works on it and closes it. The signal that the work is given fires when the limits have passed or the client
 * is lost, with the reason; nobody waits for its end then.
 */
export function withClient<Result>(
  limits: NamedWaitLimits,
  open: (signal: AbortSignal) => Promise<AmqpClient>,
  work: (client: AmqpClient, signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const stop = new AbortController();
  const run = async (): Promise<Result> => {
    const client = await open(stop.signal);
    void client.lost.then((reason) => stop.abort(reason));
    try {
      stop.signal.throwIfAborted();
      return await work(client, stop.signal);
    } finally {
      await client.close();
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
