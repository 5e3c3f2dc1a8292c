/** Statistics of services of which nothing is to be said. */

import type { InstanceStats, ServiceStats } from "../../index.ts";

export const noQueues: ServiceStats["queues"] = {
  calls: undefined,
  "calls.again": undefined,
  "calls.batch": undefined,
  inbox: undefined,
  "inbox.again": undefined,
  dead: undefined,
};

/** A service without instances, queues and handlers. */
export function idleService(service: string): ServiceStats {
  return {
    service,
    instances: [],
    routes: [],
    subscriptions: [],
    calls: [],
    sends: [],
    publishes: [],
    unclaimed: 0,
    queues: noQueues,
  };
}

/** A healthy instance that has done nothing. */
export function idleInstance(service: string, instance: string): InstanceStats {
  return {
    service,
    instance,
    uptimeMs: 10_000,
    health: { status: "healthy", state: "running", detached: [] },
    routes: [],
    subscriptions: [],
    calls: [],
    sends: [],
    publishes: [],
    unmatched: { received: 0, deadLettered: 0 },
    malformed: { received: 0, deadLettered: 0 },
    calling: 0,
    unconfirmed: 0,
    unclaimed: 0,
    delayed: [],
    reconnects: 0,
  };
}
