/** The end of a run: waits until all that was confirmed has come to its end, and takes what the queues still hold. */

import { setTimeout as sleep } from "node:timers/promises";
import { type AmqpClient, Broker, silentLogger } from "../../src/index.ts";
import { allLevels, returnQueueOf } from "../../src/protocol/delays.ts";
import type { Namespace } from "../../src/protocol/topology.ts";
import type { Account } from "./account.ts";
import { quietMs } from "./duty.ts";
import type { Fleet } from "./fleet.ts";
import { readQueue } from "./letters.ts";
import { serviceNames } from "./traffic.ts";

/** How long it may take to read what waits. */
const waitingMs = 5_000;

export interface Draining {
  readonly brokerUrls: readonly string[];
  /** The longest wait for everything to be handled. */
  readonly drainMs: number;
  readonly namespace: Namespace;
  readonly account: Account;
  readonly fleet: Fleet;
  readonly epoch: number;
  /** Reads what the ledgers say by now. */
  readonly read: () => void;
}

/** What is known at the end. */
export interface Drained {
  /** When the consumers were told to leave, in milliseconds since the run began. */
  readonly leftAt: number;
  /** Nothing had been handled for a while by then. */
  readonly quiet: boolean;
}

/**
 * Waits until all that was confirmed is handled or dead-lettered, lets the consumers leave, and takes what lies in the
 * dead-letter queues, the inboxes and the delay queues.
 */
export async function drain({
  brokerUrls,
  drainMs,
  namespace,
  account,
  fleet,
  epoch,
  read,
}: Draining): Promise<Drained> {
  const broker = new Broker(brokerUrls, { namespace: namespace.name, logger: silentLogger });
  const client = await broker.openClient();
  try {
    const takeLetters = await collect(serviceNames, async (service) => {
      const reading = await readQueue(client, namespace.dead(service));
      return () => {
        for (const letter of reading.take()) account.takeLetter(service, letter);
      };
    });
    const deadline = Date.now() + drainMs;
    let handlings = -1;
    let quietSince = Date.now();
    for (;;) {
      read();
      takeLetters();
      if (account.handlings !== handlings) quietSince = Date.now();
      handlings = account.handlings;
      const isDone = serviceNames.every((service) => account.countOpen(service) === 0);
      if (isDone && Date.now() - quietSince > quietMs) break;
      if (Date.now() > deadline) break;
      await sleep(250);
    }
    const leftAt = Date.now() - epoch;
    const quiet = Date.now() - quietSince > quietMs;
    await fleet.leave();
    const inboxes = serviceNames.flatMap((service) => {
      const inbox = namespace.inbox(service);
      return [inbox, namespace.again(inbox)].map((queue) => ({ service, queue }));
    });
    const takeLeft = await collect(inboxes, async ({ service, queue }) => {
      const reading = await readQueue(client, queue);
      return () => {
        for (const letter of reading.take()) account.takeLeft(service, letter);
      };
    });
    // Letters of the last handlings, and what the inboxes still hold.
    const queues = [
      ...serviceNames.map((service) => namespace.dead(service)),
      ...inboxes.map(({ queue }) => queue),
    ];
    let empty = 0;
    while (empty < 4 && Date.now() < deadline + 30_000) {
      await sleep(250);
      takeLetters();
      takeLeft();
      empty = (await count(client, queues)) === 0 ? empty + 1 : 0;
    }
    await takeWaiting(client, namespace, account);
    // Some of it may have returned meanwhile.
    takeLetters();
    takeLeft();
    return { leftAt, quiet };
  } finally {
    await client.close();
  }
}

/** Takes what waits in the delay queues, and is among the orphans, for the service to which it would return. */
async function takeWaiting(client: AmqpClient, namespace: Namespace, account: Account): Promise<void> {
  const services = new Map(
    serviceNames.flatMap((service) => {
      const inbox = namespace.inbox(service);
      return [inbox, namespace.again(inbox)].map((queue) => [queue, service] as const);
    }),
  );
  const queues: string[] = [];
  for (const { name } of [...namespace.sharedQueues(), ...allLevels(namespace)])
    if ((await client.inspectQueue(name)) !== undefined) queues.push(name);
  const readings = await Promise.all(queues.map((queue) => readQueue(client, queue)));
  const until = Date.now() + waitingMs;
  while ((await count(client, queues)) > 0 && Date.now() < until) await sleep(100);
  await sleep(100); // for what the broker has just delivered
  for (const letter of readings.flatMap((reading) => reading.take())) {
    const service = services.get(returnQueueOf(letter.key));
    if (service !== undefined) account.takeWaiting(service, letter);
  }
}

async function collect<Name>(
  names: readonly Name[],
  open: (name: Name) => Promise<() => void>,
): Promise<() => void> {
  const takes = await Promise.all(names.map(open));
  return () => {
    for (const take of takes) take();
  };
}

async function count(client: AmqpClient, queues: readonly string[]): Promise<number> {
  let messages = 0;
  for (const queue of queues) messages += (await client.inspectQueue(queue))?.messages ?? 0;
  return messages;
}
