/** What happens to a broker, or is done to it by its operator. */

import { setTimeout as sleep } from "node:timers/promises";
import { allow } from "./codes.ts";
import type { Fault, Stage } from "./stage.ts";
import { timeoutMs } from "./traffic.ts";

const momentMs = 1_000;
const awayMs = 600;
// A quorum queue that was declared and consumed half a second before a crash may answer no consumer afterwards, whoever
// asks: seen with a bare client on RabbitMQ 3.10. Seconds later it was not seen.
const settlingMs = 3_000;

// One command each, since starting it is most of its work. The first of the two limits alone would do, but a node in a
// root folder of its own may not be able to tell its disk.
const limits = (disk: string, memoryBytes: number): readonly string[] => [
  "eval",
  `rabbit_disk_monitor:set_disk_free_limit("${disk}"), vm_memory_monitor:set_vm_memory_high_watermark({absolute, ${memoryBytes}}).`,
];
const exhausting = limits("10000GB", 1);
/** As `dev-broker/private-node.mjs` has them. */
const usual = limits("50MB", 1024 ** 3);

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
    async strike(stage) {
      await sleep(settlingMs);
      await restart(stage, "SIGKILL");
    },
    codes: unreachable,
    mayLose: ["publish per instance"],
  },
  {
    name: "standstill for a moment",
    repeats: "never",
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
    repeats: "never",
    side: "both",
    async strike({ ownNode, traffic }) {
      await ownNode.control?.(exhausting);
      try {
        await sleep(timeoutMs);
        await Promise.all([traffic.sees("call", "TIMEOUT"), traffic.sees("publish", "TIMEOUT")]);
      } finally {
        await ownNode.control?.(usual);
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
  // Their queue goes with its consumer.
  mayLose: ["publish per instance"],
};
