/** Looks at the delay queues of a namespace. */

import { mapConcurrently } from "../async/concurrently.ts";
import { allLevels, levelName, levelQueues } from "../protocol/delays.ts";
import { type DeclaredQueue, LEVELS, type Namespace } from "../protocol/topology.ts";
import type { AmqpClient } from "../transport/amqp-client.ts";
import { inspectIfTold, isUntold } from "./service-stats.ts";

/** A delay queue that is not empty. */
export interface DelayQueue {
  readonly name: string;
  /** How long each message waits there, in milliseconds. */
  readonly ms: number;
  /**
   * Messages of all services that wait there. Instances that check whether messages return from the queue may add one message
   * each at times.
   */
  readonly messages: number;
}

/** Returns the delay queues that hold messages. Calls `onUnknown` with the names of those that could not be inspected. */
export async function delayQueues(
  client: AmqpClient,
  namespace: Namespace,
  onUnknown: (name: string) => void,
): Promise<readonly DelayQueue[]> {
  let count: number;
  try {
    count = await countLevels(client, namespace);
  } catch (error) {
    if (!isUntold(error)) throw error;
    onUnknown(`${namespace.name}.wait.*`);
    return [];
  }
  const found = await mapConcurrently(allLevels(namespace).slice(0, count), async ({ name, ms }) => {
    const info = await inspectIfTold(client, name, () => onUnknown(name));
    return { name, ms, messages: info?.messages ?? 0 };
  });
  return found.filter(({ messages }) => messages > 0);
}

/**
 * Returns the queues of the levels that may exist, with the arguments that they should have; none if the broker does not say
 * which levels exist.
 */
export async function declaredLevels(
  client: AmqpClient,
  namespace: Namespace,
): Promise<readonly DeclaredQueue[]> {
  try {
    return levelQueues(namespace, 2 ** (await countLevels(client, namespace)) - 1);
  } catch (error) {
    if (!isUntold(error)) throw error;
    return [];
  }
}

// Returns the number of levels that have an exchange. A level is declared with all those below it, so they are counted in five
// steps. Looking for each of them would close a channel, and add a line to the broker's log, for each that does not exist.
async function countLevels(client: AmqpClient, namespace: Namespace): Promise<number> {
  let [least, most] = [0, LEVELS];
  while (least < most) {
    const middle = (least + most) >> 1;
    if (await client.hasExchange(levelName(namespace, middle))) least = middle + 1;
    else most = middle;
  }
  return least;
}
