/** A service for which nobody answers, as its queues show it. */

import type { Overview, ServiceStats } from "../index.ts";
import { counted } from "./findings.ts";
import { delayedForHumans, healthOfQueues } from "./fleet.ts";
import { usersOf } from "./talkers.ts";
import type { Paint } from "./terminal.ts";

/** A line for each queue that exists; for those where calls and what was put aside pass through, only while something waits. */
export function queueLines({ queues }: Pick<ServiceStats, "queues">): readonly string[] {
  return Object.entries(queues).flatMap(([name, queue]) =>
    queue === undefined || (name.includes(".") && queue.messages === 0)
      ? []
      : [`${name}: ${queue.messages.toLocaleString("en")} waiting, ${counted(queue.consumers, "consumer")}`],
  );
}

/** What `show` says of it. */
export function silentLines(stats: ServiceStats, overview: Overview, paint: Paint): readonly string[] {
  const { service, queues } = stats;
  const users = usersOf(service, overview);
  const delayed = delayedForHumans(overview);
  const letters = queues.dead?.messages ?? 0;
  return [
    paint.strong(service),
    "",
    healthOfQueues(queues) === "down"
      ? paint.bad("No instance answers, and nobody consumes its queues: it is down.")
      : paint.doubtful(
          "No instance answers, though someone consumes its queues: it is busy, or has discovery turned off.",
        ),
    "",
    ...queueLines(stats),
    ...(users.length === 0 ? [] : [`used: ${users.join(", ")}`]),
    ...(delayed === undefined ? [] : [`of all services, ${delayed}`]),
    ...(letters === 0 ? [] : ["", `confluo dead ls ${service} lists what it gave up.`]),
  ];
}
