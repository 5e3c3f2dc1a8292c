/** Brings forward what waits in the delay queues because it has failed. */

import { checkOptions, type OptionNames, readWaitOptions, type WaitOptions } from "../options/checks.ts";
import { checkName } from "../protocol/address.ts";
import { header, protocolHeader } from "../protocol/codec.ts";
import { returnQueueOf } from "../protocol/delays.ts";
import { readEnvelope, unchangedCopy, waitHeaders } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import type { Namespace } from "../protocol/topology.ts";
import type { AmqpClient, AmqpDelivery } from "../transport/amqp-client.ts";
import { withClient } from "../transport/short-session.ts";
import { publishFailure, withCount } from "./publish-failure.ts";
import { browseQueue } from "./queue-browser.ts";

/** Access to the broker. */
export interface WaitingRetriesDependencies {
  readonly namespace: Namespace;
  open(signal: AbortSignal): Promise<AmqpClient>;
  newId(): string;
  /** Returns the names of the delay queues that hold messages. */
  delayQueues(client: AmqpClient): Promise<readonly string[]>;
}

const RETRY_MS = 60_000;
/** Largest number of copies that await their confirms at a time. */
const UNDER_WAY = 256;

const retryOptions: OptionNames<WaitOptions> = { timeoutMs: true, signal: true };

/** Publishes the messages of a service that wait because they have failed to where they would return. */
export async function retryWaiting(
  parts: WaitingRetriesDependencies,
  service: string,
  options: WaitOptions | undefined,
): Promise<number> {
  const { namespace, open, newId, delayQueues } = parts;
  const inbox = namespace.inbox(checkName(service, "service"));
  const targets = new Set([inbox, namespace.again(inbox)]);
  const limits = readWaitOptions("retry", checkOptions("retry", options, retryOptions), RETRY_MS);
  let count = 0;
  const what = `the messages of ${service} that wait`;
  const visit =
    (client: AmqpClient) =>
    (delivery: AmqpDelivery): "stays" | Promise<void> => {
      const target = returnQueueOf(delivery.key);
      if (!targets.has(target) || !hasFailed(delivery.message)) return "stays";
      return forward(client, target, copyOf(delivery, { newId, most: client.mostPropertyBytes })).then(() => {
        count += 1;
      });
    };
  try {
    await withClient({ ...limits, what }, open, async (client, signal) => {
      for (const queue of await delayQueues(client)) {
        // A copy would wait for the whole time again, so a message that stays returns by itself, however often it did before.
        const plan = {
          queue,
          prefetch: UNDER_WAY,
          visit: visit(client),
          copy: () => undefined,
          isCopy: () => false,
        };
        await browseQueue(client, plan, signal);
      }
    });
    return count;
  } catch (error) {
    throw withCount(error, { retried: count });
  }
}

// A message that is delayed, and has not been tried yet, has no failure.
function hasFailed({ properties: { headers } }: Message): boolean {
  return protocolHeader(headers, header.failedAt) !== undefined;
}

function copyOf(
  { message }: AmqpDelivery,
  { newId, most }: { readonly newId: () => string; readonly most: number },
): Message {
  const envelope = readEnvelope(message, { lane: "inbox", eventKey: undefined, newId });
  const { unclaimedMs, deaths, expiresMs } = envelope;
  const added = waitHeaders({ restMs: 0, unclaimedMs, expiresMs: undefined, deaths });
  const { body, properties } = unchangedCopy({ message, envelope }, added, most);
  const expiration = expiresMs === undefined ? {} : { expiration: String(Math.max(1, expiresMs)) };
  return { body, properties: { ...properties, ...expiration } };
}

function forward(client: AmqpClient, queue: string, message: Message): Promise<void> {
  return new Promise((resolve, reject) => {
    client.publish({ exchange: "", key: queue }, message, (failure, why) => {
      if (failure === undefined) resolve();
      else reject(publishFailure(failure, { outcome: "A message that waits stays there", queue, why }));
    });
  });
}
