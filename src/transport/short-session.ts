/** Work at the broker that needs a connection of its own, within limits. */

import { type NamedWaitLimits, waitFor } from "../async/timed-promise.ts";
import type { AmqpClient } from "./amqp-client.ts";

/**
 * Opens a client, does the work and closes the client. The signal passed to the work fires, with the reason, when the limits
 * have passed or the client is lost. The work is not awaited any more then.
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
