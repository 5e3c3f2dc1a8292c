/**
 * An overview of a namespace: the reports of its instances, and what the broker knows about services without a running
 * instance.
 */

import { mapConcurrently } from "../async/concurrently.ts";
import { invalidArgument } from "../errors.ts";
import { checkOptions, type OptionNames, readWaitOptions, type WaitOptions } from "../options/checks.ts";
import { checkName } from "../protocol/address.ts";
import type { InstanceStats } from "../protocol/discovery/instance-answer.ts";
import type { Namespace } from "../protocol/topology.ts";
import type { AmqpClient, QueueInfo } from "../transport/amqp-client.ts";
import { type AskParts, ask } from "./ask.ts";
import { type DelayQueue, delayQueues } from "./delay-queues.ts";
import { type DelayedMessages, delayedBy } from "./delayed-messages.ts";
import { byService, inspectIfTold, queuesOf, type ServiceStats, silentService } from "./service-stats.ts";

/** Options of `Broker.overview`. */
export interface OverviewOptions extends WaitOptions {
  /** Names of services to look for, even if no instance of them answers; 1,000 at most. */
  readonly services?: readonly string[] | undefined;
}

/** The overview of a namespace. */
export interface Overview {
  /** Sorted by name. A service whose queues exist but whose instances do not answer has no `instances`. */
  readonly services: readonly ServiceStats[];
  /** Services that have neither an instance nor a queue, although they are named in the options, or are called or sent to. */
  readonly missing: readonly string[];
  /** All services whose queues were looked for, sorted by name. There may be others, because AMQP cannot list queues. */
  readonly lookedFor: readonly string[];
  /**
   * Delay queues of the namespace that hold messages: messages that wait for a retry, or because no handler matched, or until
   * they are due.
   */
  readonly delays: readonly DelayQueue[];
  /**
   * Delayed messages that are not due yet, by service, as far as the instances that sent them answer. Only these instances know
   * for which service a message waits.
   */
  readonly delayed: readonly DelayedMessages[];
  /**
   * Messages that returned from a delay queue to a deleted queue; `undefined` if no service ever connected in this namespace.
   */
  readonly orphans: QueueInfo | undefined;
  /**
   * Delay queues, or the queue of orphans, that could not be inspected because a right is missing or their node is down. Absent
   * if there are none.
   */
  readonly unknownQueues?: readonly string[];
}

const overviewOptions: OptionNames<OverviewOptions> = { services: true, timeoutMs: true, signal: true };

/** Largest number of services to look for, because the names come from messages and anyone could have written them. */
const MOST_NAMES = 1_000;
const TIMEOUT_MS = 20_000;

/**
 * Makes the overview of a namespace.
 *
 * @throws `INVALID_ARGUMENT`, and the errors of {@link ask}.
 */
export async function overview(parts: AskParts, options: OverviewOptions | undefined): Promise<Overview> {
  const { services = [], ...waiting } = checkOptions("overview", options, overviewOptions);
  if (!Array.isArray(services) || services.length > MOST_NAMES)
    throw invalidArgument("services", `a list of at most ${MOST_NAMES} names`, services);
  const named = services.map((service) => checkName(service as string, "service"));
  const { ms, signal } = readWaitOptions("overview", waiting, TIMEOUT_MS);
  const limits = { timeoutMs: ms, ...(signal === undefined ? {} : { signal }) };
  return ask(parts, "stats", limits, async (client, heard) => {
    const answers = heard.map(({ answer }) => answer);
    return look(client, parts.namespace, { answers, named });
  });
}

async function look(
  client: AmqpClient,
  namespace: Namespace,
  { answers, named }: { readonly answers: readonly InstanceStats[]; readonly named: readonly string[] },
): Promise<Overview> {
  const answering = await byService(client, namespace, answers);
  const there = new Set(answering.map(({ service }) => service));
  const targets = answers.flatMap(({ calls, sends }) =>
    [...calls, ...sends].flatMap(({ service }) => service ?? []),
  );
  const wanted = new Set([...named, ...targets]);
  const known = new Set([...wanted, ...answers.flatMap(sendersOf)]);
  const silent = [...known].filter((name) => !there.has(name)).slice(0, MOST_NAMES);
  const found = await mapConcurrently(silent, async (service) => {
    const seen = await queuesOf(client, namespace, service);
    const { queues, unknownQueues } = seen;
    const isAnything = queues.inbox !== undefined || queues.dead !== undefined || unknownQueues !== undefined;
    return isAnything ? silentService(service, seen) : undefined;
  });
  const services = [...answering, ...found.filter((each) => each !== undefined)];
  const isFound = new Set(services.map(({ service }) => service));
  const unknownQueues: string[] = [];
  const inspect = (name: string): Promise<QueueInfo | undefined> =>
    inspectIfTold(client, name, () => unknownQueues.push(name));
  const delays = await delayQueues(client, namespace, (name) => unknownQueues.push(name));
  const orphans = await inspect(namespace.orphans);
  return {
    services: services.sort((a, b) => (a.service < b.service ? -1 : 1)),
    missing: silent.filter((name) => wanted.has(name) && !isFound.has(name)).sort(),
    lookedFor: [...there, ...silent].sort(),
    delays,
    delayed: delayedBy(answers),
    orphans,
    ...(unknownQueues.length === 0 ? {} : { unknownQueues }),
  };
}

function sendersOf({ routes, subscriptions }: InstanceStats): readonly string[] {
  return [...routes, ...subscriptions].flatMap(({ senders }) =>
    senders.flatMap(({ service }) => service ?? []),
  );
}
