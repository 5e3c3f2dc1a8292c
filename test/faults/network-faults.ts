/** What a network does to the connections of one side. */

import { setTimeout as sleep } from "node:timers/promises";
import type { TcpProxy } from "../support/tcp-proxy.ts";
import { allow } from "./codes.ts";
import type { Fault, Side, Stage } from "./stage.ts";

const latencyMs = 150;
const momentMs = 1_000;
const awayMs = 600;

interface Happening {
  readonly name: string;
  /** `silence`: the connections are lost, which takes its time. `refusal`: and cannot be made again for some time. */
  readonly costs: "nothing" | "connections" | "silence" | "refusal";
  strike(proxies: readonly TcpProxy[], stage: Stage): Promise<void>;
}

const happenings: readonly Happening[] = [
  {
    name: "latency",
    costs: "nothing",
    async strike(proxies) {
      for (const proxy of proxies) proxy.latencyMs = latencyMs;
      await sleep(momentMs);
      for (const proxy of proxies) proxy.latencyMs = 0;
    },
  },
  {
    name: "stall for a moment",
    costs: "nothing",
    async strike(proxies) {
      for (const proxy of proxies) {
        proxy.stall("to broker");
        proxy.stall("from broker");
      }
      await sleep(momentMs);
      for (const proxy of proxies) proxy.flow();
    },
  },
  {
    name: "stall to the broker, past the heartbeat",
    costs: "silence",
    strike: (proxies, stage) => stallUntilNoticed(proxies, stage, "to broker"),
  },
  {
    name: "stall from the broker, past the heartbeat",
    costs: "silence",
    strike: (proxies, stage) => stallUntilNoticed(proxies, stage, "from broker"),
  },
  {
    name: "reset",
    costs: "connections",
    async strike(proxies, stage) {
      for (const proxy of proxies) proxy.reset();
      await stage.notice();
    },
  },
  {
    name: "cut inside a frame to the broker",
    costs: "connections",
    async strike(proxies, stage) {
      for (const proxy of proxies) proxy.cutInsideFrame("to broker");
      await stage.notice();
    },
  },
  {
    name: "cut inside a frame from the broker",
    costs: "connections",
    async strike(proxies, stage) {
      for (const proxy of proxies) proxy.cutInsideFrame("from broker");
      await stage.notice();
    },
  },
  {
    name: "refused connections",
    costs: "refusal",
    async strike(proxies, stage) {
      for (const proxy of proxies) proxy.refusing = true;
      for (const proxy of proxies) proxy.cut();
      await stage.notice();
      await sleep(momentMs);
      for (const proxy of proxies) proxy.refusing = false;
    },
  },
];

async function stallUntilNoticed(
  proxies: readonly TcpProxy[],
  stage: Stage,
  direction: "to broker" | "from broker",
): Promise<void> {
  for (const proxy of proxies) proxy.stall(direction);
  await stage.notice();
  await sleep(awayMs); // for what is asked while nobody can connect
  for (const proxy of proxies) proxy.flow();
}

/** Each of them for one side's connections. */
export function networkFaults(side: Side): readonly Fault[] {
  return happenings.map(({ name, costs, strike }) => ({
    name,
    side,
    strike: (stage) => strike(stage.proxies, stage),
    codes: codesOf(side, costs),
    mayLose: side === "caller" || costs === "nothing" ? [] : ["publish per instance"],
    ...(costs === "nothing" ? { repeats: "never" } : {}),
  }));
}

function codesOf(side: Side, costs: Happening["costs"]): Fault["codes"] {
  if (costs === "nothing") return allow({});
  // The broker has the messages; an answer may be lost on its way.
  if (side === "handler") return allow({ call: ["TIMEOUT"] });
  const call = ["CONNECTION_LOST", "NOT_CONNECTED"] as const;
  switch (costs) {
    case "connections":
      return allow({ call });
    case "silence":
      return allow({ call: [...call, "TIMEOUT"], send: ["TIMEOUT"], publish: ["TIMEOUT"] });
    case "refusal":
      return allow({ call, send: ["TIMEOUT"], publish: ["TIMEOUT"] });
    default:
      return costs satisfies never;
  }
}
