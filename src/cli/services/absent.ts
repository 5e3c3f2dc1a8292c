/** Reports services that are down, and messages that wait. */

import type { Overview, ServiceStats } from "../../index.ts";
import { aboutQueues, counted, type Finding, listed, problem, warning } from "../checks/checks.ts";
import { delayedIn } from "./service-table.ts";
import { usersOf } from "./talkers.ts";

/** Checks a service whose queues exist but whose instances do not answer. */
export function aboutSilent({ service, queues }: ServiceStats, overview: Overview): readonly Finding[] {
  const found = aboutQueues(service, queues, usersOf(service, overview));
  if (queues.inbox?.consumers === 0) return found;
  if (queues.inbox === undefined)
    return [
      ...found,
      warning(
        `${service} has dead letters but no inbox, so it was removed.`,
        `confluo dead show ${service} shows them.`,
      ),
    ];
  return [
    ...found,
    warning(
      `${service} consumes its queues but does not answer.`,
      "It may be busy, or discovery is turned off.",
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
        "Is the name right? confluo ls lists the services that answer.",
      );
    return warning(
      `There is no service ${service}, but ${users.join(", ")}, or did so before.`,
      `Such messages fail with NO_SUCH_SERVICE: start an instance of ${service}, or correct the name.`,
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
              `${counted(sum, "message")} of ${service} failed and will be retried: ${where}.`,
              `confluo show ${service} says why they failed.`,
            ),
          ]),
      ...(unclaimed === 0
        ? []
        : [
            warning(
              `${counted(unclaimed, "message")} of ${service} ${unclaimed === 1 ? "waits" : "wait"} for an instance that has a handler: those that received them have none.`,
              "This is normal during a rolling deploy; afterwards, the log names the paths.",
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
      `${counted(others, "message")} more in delay queues (${queues}): none of the instances that answer has put them there.`,
      "They belong to services that are down or were restarted, and will return to their inboxes.",
    ),
  ];
}

/** Largest number of names in a list. */
const NAMED = 12;

/** Lists the services that were looked for, as a phrase. */
export function lookedAt(names: readonly string[]): string {
  if (names.length === 0) return "no service";
  const more = names.length > NAMED ? [`${names.length - NAMED} more`] : [];
  return listed([...names.slice(0, NAMED), ...more]);
}
