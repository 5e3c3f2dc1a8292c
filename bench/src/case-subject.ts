/** The cases as subjects. */

import type { Case } from "./case.ts";
import { loadSeconds, measure } from "./measure.ts";
import type { Column, Subject } from "./subject.ts";
import { variants } from "./variants/index.ts";

/** What the other variants are compared with. */
export const YARDSTICK = "raw";

/** Starting and ending one program. */
const PROGRAM_SECONDS = 0.4;

const latencies: readonly Column[] = [
  { key: "p50Ms", title: "p50 ms", digits: 2 },
  { key: "p99Ms", title: "p99 ms", digits: 2 },
];

const cpu: readonly Column[] = [
  { key: "requesterUs", title: "CPU µs/msg: requester", digits: 1 },
  { key: "handlersUs", title: "handlers", digits: 1 },
  { key: "brokerUs", title: "broker", digits: 1, unknown: "unknown" },
];

export function subjectOf(measured: Case): Subject {
  const { name, title, quick, load, services, instances } = measured;
  const isAnswered = load.kind === "calls" || load.kind === "arrivals";
  return {
    name,
    title,
    quick,
    variants: Object.keys(variants),
    needs: load.kind,
    needsBroker: true,
    columns: [
      { key: "perSecond", title: "msg/s", digits: 0, spread: true, yardstick: YARDSTICK },
      ...(isAnswered ? latencies : []),
      ...cpu,
    ],
    expectSeconds: (seconds) => loadSeconds(measured, seconds) + (services * instances + 1) * PROGRAM_SECONDS,
    measure: async (variant, options) => {
      const { perSecond, latency, cpu } = await measure(variant, measured, options);
      return {
        perSecond,
        p50Ms: latency?.p50,
        p99Ms: latency?.p99,
        requesterUs: cpu.requester,
        handlersUs: cpu.handlers,
        brokerUs: cpu.broker,
      };
    },
  };
}
