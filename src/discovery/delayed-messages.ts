/** Sums up the delayed messages that instances have sent, by the service to whose inbox they return. */

import type { InstanceStats } from "../protocol/discovery/instance-answer.ts";

/** Delayed messages for a service that are not due yet, as far as the instances that sent them answer. */
export interface DelayedMessages {
  /** The service to whose inbox they return: the receiver of commands, the publisher of events. */
  readonly service: string;
  readonly messages: number;
  /** When the last of them is due, in ISO 8601. */
  readonly until: string;
}

/** Returns the delayed messages for each service, sorted by name. */
export function delayedBy(answers: readonly InstanceStats[]): readonly DelayedMessages[] {
  const merged = new Map<string, DelayedMessages>();
  for (const { service, count, until } of answers.flatMap(({ delayed }) => delayed)) {
    if (service === undefined) continue;
    const before = merged.get(service);
    merged.set(service, {
      service,
      messages: count + (before?.messages ?? 0),
      until: before !== undefined && before.until > until ? before.until : until,
    });
  }
  return [...merged.values()].sort((a, b) => (a.service < b.service ? -1 : 1));
}
