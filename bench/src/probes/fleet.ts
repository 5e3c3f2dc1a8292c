/** What a fleet of services costs, by its size. */

import type { Column, Subject } from "../subject.ts";
import { CONNECTING, INSTANCES, measureFleet } from "./fleet/measure-fleet.ts";

const columns: readonly Column[] = [
  { key: "connectSeconds", title: `s until all are connected, ${CONNECTING} at a time`, digits: 1 },
  { key: "queues", title: "queues", digits: 0 },
  { key: "channels", title: "channels", digits: 0 },
  { key: "connections", title: "connections", digits: 0 },
  { key: "processes", title: "Erlang processes", digits: 0 },
  { key: "brokerRssMb", title: "broker MB RSS", digits: 0, unknown: "unknown" },
  { key: "connectionsMb", title: "of it, MB in connections", digits: 0 },
  { key: "channelsMb", title: "MB in channels", digits: 0 },
  { key: "classicMb", title: "MB in classic queues", digits: 0 },
  { key: "quorumMb", title: "MB in quorum queues", digits: 0 },
  { key: "brokerCpuPercent", title: "broker CPU at rest, % of a core", digits: 1, unknown: "unknown" },
  { key: "instanceKb", title: "KB RSS for an idle instance", digits: 0 },
  { key: "instanceHeapKb", title: "of it, KB heap", digits: 0 },
  { key: "instanceCpuMs", title: "ms CPU a minute for an idle instance", digits: 2 },
  { key: "lsMs", title: "confluo ls ms", digits: 0 },
  { key: "lsFound", title: "instances in it, with the sender", digits: 0 },
  { key: "doctorMs", title: "confluo doctor ms", digits: 0 },
  { key: "eventMs", title: "ms until the last service handled an event", digits: 0 },
  { key: "downSeconds", title: "storm: s until the broker answers", digits: 1 },
  { key: "healthySeconds", title: "s until all are healthy", digits: 1 },
  { key: "unhealthy", title: "not healthy 120 s after the broker answers", digits: 0 },
  { key: "sent", title: "commands sent", digits: 0 },
  { key: "confirmed", title: "confirmed", digits: 0 },
  { key: "handled", title: "of these handled", digits: 0 },
  { key: "lost", title: "of these lost", digits: 0 },
  { key: "twice", title: "handled twice", digits: 0 },
  { key: "called", title: "calls", digits: 0 },
  { key: "answered", title: "answered", digits: 0 },
  { key: "failed", title: "rejected", digits: 0 },
];

/** Measured at each size; the other variants show ways out. */
const usual: readonly string[] = ["separate", "shared"];

function fleetOf(services: number, seconds: number, variants = usual): Subject {
  return {
    name: `fleet-${services}`,
    title: `${services} services with ${INSTANCES} instances each, once, on a broker of their own`,
    quick: false,
    onDemand: true,
    variants,
    needs: undefined,
    needsBroker: true,
    columns,
    expectSeconds: () => seconds,
    measure: (variant, options) => measureFleet({ services, variant, options }),
  };
}

export const fleets: readonly Subject[] = [
  fleetOf(10, 75),
  fleetOf(100, 110, [...usual, "clients", "vhosts", "buffers"]),
  fleetOf(500, 240),
];
