/** Removes bindings that are no longer needed, and the queues of services that no longer exist. */

import { delay } from "../async/abort.ts";
import type { WaitLimits } from "../async/timed-promise.ts";
import { ConfluoError, invalidArgument } from "../errors.ts";
import { checkOptions, type OptionNames, readWaitOptions, type WaitOptions } from "../options/checks.ts";
import { bindingKey, checkName } from "../protocol/address.ts";
import type { Namespace } from "../protocol/topology.ts";
import type { AmqpClient } from "../transport/amqp-client.ts";
import { withClient } from "../transport/short-session.ts";

/** Options of `Broker.removeService`. */
export interface RemoveServiceOptions extends WaitOptions {
  /** True to delete queues even if they hold messages or have consumers. Default: `false`. */
  readonly force?: boolean | undefined;
}

/** A queue that was removed. */
export interface RemovedQueue {
  readonly name: string;
  /** Number of messages that were deleted with it. */
  readonly messages: number;
}

/** Access to the broker. */
export interface AdminSession {
  readonly namespace: Namespace;
  open(signal: AbortSignal): Promise<AmqpClient>;
}

const ADMIN_MS = 20_000;
/** Delay before the queues are inspected again: after a restart, RabbitMQ 3.10 briefly reports a queue as empty that is not. */
const SECOND_LOOK_MS = 500;

const removeOptions: OptionNames<RemoveServiceOptions> = { timeoutMs: true, signal: true, force: true };

export async function unbind(
  { namespace, open }: AdminSession,
  { service, pattern }: { readonly service: string; readonly pattern: string },
  options: WaitOptions | undefined,
): Promise<void> {
  const inbox = namespace.inbox(checkName(service, "service"));
  const key = bindingKey(pattern);
  const limits = readWaitOptions("unbind", options, ADMIN_MS);
  const what = `the broker to unbind ${pattern} from ${inbox}`;
  await withClient({ ...limits, what }, open, (client) => client.unbind(inbox, namespace.events, key));
}

export async function removeService(
  { namespace, open }: AdminSession,
  service: string,
  options: RemoveServiceOptions | undefined,
): Promise<readonly RemovedQueue[]> {
  checkName(service, "service");
  const { force = false, ...waiting } = checkOptions("removeService", options, removeOptions);
  if (typeof force !== "boolean") throw invalidArgument("force", "true or false", force);
  const limits: WaitLimits = readWaitOptions("removeService", waiting, ADMIN_MS);
  // The dead letters are deleted last.
  const [calls, again, batches] = namespace.callQueues(service);
  const [dead, ...inboxes] = namespace.durableQueues(service);
  const queues = [calls, batches, again, ...inboxes, dead].flatMap((plan) => plan?.name ?? []);
  const what = `the broker to remove ${service}`;
  return withClient({ ...limits, what }, open, async (client, signal) => {
    const found = await look(client, queues);
    if (found.length === 0)
      throw new ConfluoError("NO_SUCH_SERVICE", `The service ${service} has no queues.`);
    if (!force) {
      checkUnused(service, found);
      await delay(SECOND_LOOK_MS, signal);
      checkUnused(service, await look(client, queues));
    }
    const removed: RemovedQueue[] = [];
    for (const { name } of found) {
      signal.throwIfAborted();
      // Checks again: an instance may have connected since. RabbitMQ itself checks for consumers of classic queues only.
      if (!force) checkUnused(service, await look(client, [name]));
      removed.push({ name, messages: await client.deleteQueue(name) });
    }
    return removed;
  });
}

interface FoundQueue extends RemovedQueue {
  readonly consumers: number;
}

async function look(client: AmqpClient, queues: readonly string[]): Promise<readonly FoundQueue[]> {
  const infos = await Promise.all(
    queues.map(async (name) => {
      const info = await client.inspectQueue(name);
      return info === undefined ? [] : [{ name, ...info }];
    }),
  );
  return infos.flat();
}

function checkUnused(service: string, found: readonly FoundQueue[]): void {
  const used = found.filter(({ messages, consumers }) => messages > 0 || consumers > 0);
  if (used.length === 0) return;
  const reasons = used.map(({ name, messages, consumers }) => {
    const held = messages === 0 ? [] : [`holds ${messages} ${messages === 1 ? "message" : "messages"}`];
    const by = consumers === 0 ? [] : [`has ${consumers} ${consumers === 1 ? "consumer" : "consumers"}`];
    return `${name} ${[...held, ...by].join(" and ")}`;
  });
  throw new ConfluoError("UNAVAILABLE", `${service} is not removed: ${reasons.join("; ")}.`, {
    data: { queues: used },
  });
}
