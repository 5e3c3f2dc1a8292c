/** A namespace as a whole: what instances tell, and what the broker knows of services that nobody answers for. */

import { mapConcurrently } from "../async/concurrently.ts";
import { invalidArgument } from "../errors.ts";
import { checkOptions, type OptionNames, readWaitOptions, type WaitOptions } from "../options/checks.ts";
import { checkName } from "../protocol/address.ts";
import type { InstanceStats } from "../protocol/discovery/instance-answer.ts";
import { DELAY_LEVELS_MS, type Namespace } from "../protocol/topology.ts";
import type { AmqpClient, QueueInfo } from "../transport/amqp-client.ts";
import { type AskParts, ask } from "./ask.ts";
import { byService, inspectIfTold, queuesOf, type ServiceStats, silentService } from "./service-stats.ts";

/** The things to look at besides what instances tell. */
export interface OverviewOptions extends WaitOptions {
  /** Services to look for, whether anybody answers for them or not: their names, 1,000 at most. */
  readonly services?: readonly string[] | undefined;
}

/** A delay queue that is not empty. */
export interface DelayQueue {
  readonly name: string;
  /** How long each message waits there, in milliseconds. */
  readonly ms: number;
  /** Messages that wait there, of all services. Instances that look whether what waits comes back have one of their own there at times. */
  readonly messages: number;
}

/** The findings. */
export interface Overview {
  /** In order of names. One whose queues are there and for which nobody answers has no `instances`. */
  readonly services: readonly ServiceStats[];
  /** Services of which there is neither an instance nor a queue, though they were asked for, or are called or sent to. */
  readonly missing: readonly string[];
  /** All services whose queues were looked for, in order of names: AMQP lists no queues, so there may be others. */
  readonly lookedFor: readonly string[];
  /** Delay queues of the namespace in which something waits: what is tried again later, or goes round for want of a handler. */
  readonly delays: readonly DelayQueue[];
  /** Messages that came back from there to a queue that is gone; `undefined` if no service ever connected in this namespace. */
  readonly orphans: QueueInfo | undefined;
  /** Delay queues, and the one of orphans, that the broker does not tell of, for want of a right or since their node is down. Absent if there are none. */
  readonly unknownQueues?: readonly string[];
}

const overviewOptions: OptionNames<OverviewOptions> = { services: true, timeoutMs: true, signal: true };

/** Names in messages are claims: so many are looked for, no more. */
const MOST_NAMES = 1_000;
const TIMEOUT_MS = 20_000;

/** @throws `INVALID_ARGUMENT`, and what asking can fail with. */
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
  const delays = await mapConcurrently(DELAY_LEVELS_MS, async (ms) => {
    const name = namespace.delays[ms];
    return { name, ms, messages: (await inspect(name))?.messages ?? 0 };
  });
  const orphans = await inspect(namespace.orphans);
  return {
    services: services.sort((a, b) => (a.service < b.service ? -1 : 1)),
    missing: silent.filter((name) => wanted.has(name) && !isFound.has(name)).sort(),
    lookedFor: [...there, ...silent].sort(),
    delays: delays.filter(({ messages }) => messages > 0),
    orphans,
    ...(unknownQueues.length === 0 ? {} : { unknownQueues }),
  };
}

function sendersOf({ routes, subscriptions }: InstanceStats): readonly string[] {
  return [...routes, ...subscriptions].flatMap(({ senders }) =>
    senders.flatMap(({ service }) => service ?? []),
  );
}
