/** Reports services that are down, and messages that wait. */

import type { Overview, ServiceStats } from "../../index.ts";
import { aboutQueues, counted, type Finding, problem, warning } from "../checks/checks.ts";
import { delayedIn } from "./service-table.ts";
import { usersOf } from "./talkers.ts";

/** Checks a service whose queues exist but whose instances do not answer. */
export function aboutSilent({ service, queues }: ServiceStats, overview: Overview): readonly Finding[] {
  const found = aboutQueues(service, queues, usersOf(service, overview));
  if (queues.inbox?.consumers === 0) return found;
  if (queues.inbox === undefined)
    return [
      ...found,
      warning(`${service} has letters and no inbox: it is gone.`, `confluo dead show ${service}.`),
    ];
  return [
    ...found,
    warning(
      `${service} consumes its queues and does not answer.`,
      "It may be busy, or have discovery turned off.",
    ),
  ];
}

/** Reports services that have neither queues nor instances; `named` are those that the user named. */
export function aboutMissing(overview: Overview, named: readonly string[]): readonly Finding[] {
  return overview.missing.map((service) => {
    const users = usersOf(service, overview);
    if (users.length === 0 || named.includes(service))
      return problem(
        `There is no service ${service}.${users.length === 0 ? "" : ` ${users.join(", ")}.`}`,
        "Is the name right? confluo ls lists those that answer.",
      );
    return warning(
      `There is no service ${service}, and ${users.join(", ")}, or did.`,
      `What is meant for it fails with NO_SUCH_SERVICE: start an instance of ${service}, or mend the name.`,
    );
  });
}

/** Reports messages that wait in delay queues. */
export function aboutDelayed(overview: Overview): readonly Finding[] {
  const found = overview.services.flatMap(({ service, routes, subscriptions, unclaimed }) => {
    const waiting = [
      ...routes.map(({ path, waiting: count }) => ({ what: path, count })),
      ...subscriptions.map(({ pattern, waiting: count }) => ({ what: pattern, count })),
    ].filter(({ count }) => count > 0);
    const sum = waiting.reduce((all, { count }) => all + count, 0);
    const where = waiting.map(({ what, count }) => `${what} ${count.toLocaleString("en")}`).join(", ");
    return [
      ...(sum === 0
        ? []
        : [
            warning(
              `${counted(sum, "message")} of ${service} failed and will be tried again: ${where}.`,
              `confluo show ${service} says why they failed.`,
            ),
          ]),
      ...(unclaimed === 0
        ? []
        : [
            warning(
              `${counted(unclaimed, "message")} of ${service} go round, since the instances that had them have no handler for them.`,
              "In a rolling deploy that is as it should be; afterwards the log says for which path.",
            ),
          ]),
    ];
  });
  const { others } = delayedIn(overview);
  if (others === 0) return found;
  const queues = overview.delays
    .map(({ name, messages }) => `${name} ${messages.toLocaleString("en")}`)
    .join(", ");
  return [
    ...found,
    warning(
      `${counted(others, "message")} more in delay queues (${queues}): no instance that answers says that it put them there.`,
      "They were those of services that are down or were started anew, and come back to their inboxes by themselves.",
    ),
  ];
}

/** Largest number of names in a list. */
const NAMED = 12;

/** Lists the services that were looked for, as a phrase. */
export function lookedAt(names: readonly string[]): string {
  if (names.length === 0) return "no service";
  const more = names.length > NAMED ? [`${names.length - NAMED} more`] : [];
  const all = [...names.slice(0, NAMED), ...more];
  return all.length === 1 ? (all[0] as string) : `${all.slice(0, -1).join(", ")} and ${all.at(-1)}`;
}
