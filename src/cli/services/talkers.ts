/** Describes which services exchange messages. */

import type { Overview, SenderStats, ServiceStats } from "../../index.ts";

/** Largest number of names in a line. */
const NAMED = 8;

/** Returns lines about the senders of a service's messages, and about the messages that it sends itself. */
export function talkLines({
  routes,
  subscriptions,
  calls,
  sends,
  publishes,
}: ServiceStats): readonly string[] {
  const from = new Map<string, number>();
  for (const { senders } of [...routes, ...subscriptions])
    for (const sender of senders) {
      const name = sender.service ?? "others";
      from.set(name, (from.get(name) ?? 0) + runsOf(sender));
    }
  const heard = [...from].map(([what, count]) => ({ what, count }));
  return [
    ...line("receives from", heard),
    ...line("calls", calls.map(named)),
    ...line("sends to", sends.map(named)),
    ...line("publishes", publishes.map(named)),
  ];
}

/** Returns a phrase for each answering service that calls a service or sends to it. */
export function usersOf(service: string, { services }: Pick<Overview, "services">): readonly string[] {
  return services.flatMap((each) => {
    const used = [
      ["calls", each.calls],
      ["sends to", each.sends],
    ] as const;
    const ways = used.filter(([, uses]) => uses.some((use) => use.service === service)).map(([how]) => how);
    return ways.length === 0 ? [] : [`${each.service} ${ways.join(" and ")} it`];
  });
}

interface NamedSenders {
  readonly what: string;
  readonly count: number;
}

function named(use: {
  readonly service?: string;
  readonly path?: string;
  readonly count: number;
}): NamedSenders {
  const what = [use.service, use.path].filter((part) => part !== undefined).join(" ");
  return { what: what === "" ? "others" : what, count: use.count };
}

function line(how: string, all: readonly NamedSenders[]): readonly string[] {
  if (all.length === 0) return [];
  const most = [...all].sort((a, b) => b.count - a.count);
  const shown = most.slice(0, NAMED).map(({ what, count }) => `${what} (${count.toLocaleString("en")})`);
  const more = most.length > NAMED ? ` and ${most.length - NAMED} more` : "";
  return [`${how}: ${shown.join(", ")}${more}`];
}

function runsOf({ handled, refused, failed }: SenderStats): number {
  return handled + refused + failed;
}
