/** Describes a service whose instances do not answer, by its queues. */

import type { DelayedMessages, Overview, ServiceStats } from "../../index.ts";
import { counted } from "../checks/checks.ts";
import type { Paint } from "../terminal.ts";
import { delayedForHumans, healthOfQueues } from "./service-table.ts";
import { usersOf } from "./talkers.ts";

type SeenQueues = Pick<ServiceStats, "queues" | "unknownQueues">;

/**
 * Returns a line for each queue that exists. Queues of batches and of messages to be handled alone are listed only while they
 * hold messages.
 */
export function queueLines({ queues, unknownQueues = [] }: SeenQueues): readonly string[] {
  const known = Object.entries(queues).flatMap(([name, queue]) =>
    queue === undefined || (name.includes(".") && queue.messages === 0)
      ? []
      : [`${name}: ${queue.messages.toLocaleString("en")} waiting, ${counted(queue.consumers, "consumer")}`],
  );
  const unknown = unknownQueues.map((name) => `${name}: unknown, the broker gives no information about it`);
  return [...known, ...unknown];
}

/** Returns a line about the delayed messages for a service, if there are any. */
export function delayedLines(delayed: DelayedMessages | undefined): readonly string[] {
  if (delayed === undefined) return [];
  const { messages, until } = delayed;
  return [
    `delayed: ${messages.toLocaleString("en")} ${messages === 1 ? "waits" : "wait"}, the last until ${until}`,
  ];
}

const states = {
  down: "No instance answers, and nobody consumes its queues: it is down.",
  silent: "No instance answers, but its queues have consumers: it is busy, or discovery is turned off.",
  unknown:
    "No instance answers, and the broker gives no information about its queues: this user may not inspect them, or their node is down.",
} as const;

/** Returns the lines that `show` prints. */
export function silentLines(stats: ServiceStats, overview: Overview, paint: Paint): readonly string[] {
  const { service, queues } = stats;
  const users = usersOf(service, overview);
  const delayed = delayedForHumans(overview);
  const letters = queues.dead?.messages ?? 0;
  const health = healthOfQueues(stats);
  return [
    paint.strong(service),
    "",
    health === "down" ? paint.bad(states[health]) : paint.doubtful(states[health]),
    "",
    ...queueLines(stats),
    ...delayedLines(overview.delayed.find((each) => each.service === service)),
    ...(users.length === 0 ? [] : [`used: ${users.join(", ")}`]),
    ...(delayed === undefined ? [] : [`of all services, ${delayed}`]),
    ...(letters === 0 ? [] : ["", `confluo dead ls ${service} lists its dead letters.`]),
  ];
}
