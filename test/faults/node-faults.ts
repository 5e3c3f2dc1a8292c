/** What happens to a broker, or is done to it by its operator. */

import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../../src/testing/index.ts";
import { allow } from "./codes.ts";
import type { Fault, Stage } from "./stage.ts";
import { timeoutMs } from "./traffic.ts";

const momentMs = 1_000;
const awayMs = 600;

/** How a private node is set up, as `scripts/private-node.mjs` has it. */
const usualLimits = [
  ["set_disk_free_limit", "50MB"],
  ["set_vm_memory_high_watermark", "absolute", "1GiB"],
] as const;

const unreachable: Fault["codes"] = allow({
  call: ["CONNECTION_LOST", "NOT_CONNECTED", "TIMEOUT"],
  send: ["TIMEOUT"],
  publish: ["TIMEOUT"],
});

/** To be tried one after the other on a node of one's own. */
export const nodeFaults: readonly Fault[] = [
  {
    name: "restart (SIGTERM)",
    side: "both",
    strike: (stage) => restart(stage, "SIGTERM"),
    codes: unreachable,
    mayLose: ["publish per instance"],
  },
  {
    name: "crash (SIGKILL) and restart",
    side: "both",
    strike: (stage) => restart(stage, "SIGKILL"),
    codes: unreachable,
    mayLose: ["publish per instance"],
  },
  {
    name: "standstill for a moment",
    side: "both",
    async strike({ ownNode }) {
      ownNode.pause?.("SIGSTOP");
      await sleep(momentMs);
      ownNode.pause?.("SIGCONT");
    },
    codes: allow({}),
    mayLose: [],
  },
  {
    name: "standstill past the heartbeat",
    side: "both",
    async strike(stage) {
      stage.ownNode.pause?.("SIGSTOP");
      try {
        await stage.notice();
        await sleep(awayMs);
      } finally {
        stage.ownNode.pause?.("SIGCONT");
      }
    },
    codes: unreachable,
    mayLose: ["publish per instance"],
  },
  {
    name: "memory and disk alarm",
    side: "both",
    async strike({ ownNode, traffic }) {
      // A node in a root folder of its own may not be able to tell its disk.
      await ownNode.control?.(["set_disk_free_limit", "10000GB"]);
      await ownNode.control?.(["set_vm_memory_high_watermark", "absolute", "1"]);
      try {
        await eventually(async () => {
          const alarms = await ownNode.control?.(["eval", "rabbit_alarm:get_alarms()."]);
          return alarms?.includes("resource_limit") === true;
        }, "an alarm");
        await sleep(timeoutMs);
        await Promise.all([traffic.sees("call", "TIMEOUT"), traffic.sees("publish", "TIMEOUT")]);
      } finally {
        for (const limit of usualLimits) await ownNode.control?.(limit);
      }
    },
    codes: allow({ call: ["TIMEOUT"], send: ["TIMEOUT"], publish: ["TIMEOUT"] }),
    mayLose: [],
  },
  {
    name: "connections closed by the operator",
    side: "both",
    async strike(stage) {
      await stage.ownNode.control?.(["close_all_connections", "as an operator would"]);
      await stage.notice();
    },
    codes: allow({ call: ["CONNECTION_LOST", "NOT_CONNECTED", "TIMEOUT"] }),
    mayLose: ["publish per instance"],
  },
];

async function restart(stage: Stage, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  await stage.ownNode.restart?.(signal);
  await stage.notice();
}

/** Of the node on which handlers take too long. */
export const shortConsumerTimeout = {
  consumer_timeout: 1_500,
  channel_tick_interval: 500,
  quorum_tick_interval: 500,
};

/** Handlers that hold a message for longer than the broker lets them. */
export const consumerTimeout: Fault = {
  name: "consumer timeout",
  side: "handler",
  async strike(stage) {
    stage.traffic.firstMs = shortConsumerTimeout.consumer_timeout + 1_000;
    try {
      await stage.hear(
        stage.handler,
        `The consumer of ${stage.namespace.inbox(stage.handler.name)} was cancelled`,
      );
    } finally {
      stage.traffic.firstMs = 0;
    }
  },
  codes: allow({ call: ["TIMEOUT"] }),
  mayLose: ["publish per instance"],
};
