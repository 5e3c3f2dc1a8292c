/** Queues and exchanges that someone deletes. */

import { levelName } from "../../src/protocol/delays.ts";
import { eventually } from "../../src/testing/index.ts";
import { allow } from "./codes.ts";
import type { Fault, Stage } from "./stage.ts";

/** The level of 250 ms. */
const retryLevel = 0;

// What is on its way to a quorum queue while that is being deleted is refused by RabbitMQ, which now and then closes the
// connection that it came over instead, with 541 INTERNAL_ERROR: seen on 3.10 and 4.0. That is the connection of who
// sends to an inbox, and of who handles for the other queues.

/** Those that harm one service only. */
export const queueFaults: readonly Fault[] = [
  {
    name: "calls queue deleted",
    repeats: "never",
    side: "handler",
    strike: (stage) => deleteConsumed(stage, stage.namespace.calls(stage.handler.name)),
    codes: allow({ call: ["NO_SUCH_SERVICE", "TIMEOUT"] }),
    mayLose: [],
  },
  {
    name: "inbox deleted",
    side: "handler",
    strike: (stage) => deleteConsumed(stage, stage.namespace.inbox(stage.handler.name)),
    codes: allow({
      call: ["CONNECTION_LOST", "NOT_CONNECTED"],
      send: ["NO_SUCH_SERVICE", "UNAVAILABLE"],
      publish: ["UNAVAILABLE"],
    }),
    mayLose: ["send", "publish", "send, then retried", "send, then given up"],
  },
  {
    name: "dead-letter queue deleted",
    side: "handler",
    strike: (stage) => deleteUntilNeeded(stage, stage.namespace.dead(stage.handler.name)),
    codes: allow({ call: ["TIMEOUT"] }),
    mayLose: ["send, then given up", "publish per instance"],
  },
];

/** Those that harm a whole namespace: each needs one of its own. */
export const sharedFaults: readonly Fault[] = [
  {
    name: "delay queue deleted",
    side: "handler",
    strike: (stage) => deleteUntilNeeded(stage, levelName(stage.namespace, retryLevel)),
    codes: allow({ call: ["TIMEOUT"] }),
    mayLose: ["send, then retried", "publish per instance"],
  },
  {
    name: "delay exchange deleted",
    repeats: "never",
    side: "handler",
    async strike(stage) {
      const exchange = levelName(stage.namespace, retryLevel);
      await stage.administer((channel) => channel.deleteExchange(exchange));
      await eventually(() => exists(stage, "exchange", exchange), `${exchange} to be declared again`);
    },
    codes: allow({}),
    mayLose: [],
  },
  {
    name: "events exchange deleted, then the connections reset",
    side: "both",
    async strike(stage) {
      await stage.administer((channel) => channel.deleteExchange(stage.namespace.events));
      await stage.traffic.sees("publish", "UNAVAILABLE");
      for (const proxy of stage.proxies) proxy.reset();
      await stage.notice();
    },
    codes: allow({ call: ["CONNECTION_LOST", "NOT_CONNECTED", "TIMEOUT"], publish: ["UNAVAILABLE"] }),
    // The sender may be back before those who listen have bound their queues again.
    mayLose: ["publish", "publish per instance"],
  },
];

async function deleteConsumed(stage: Stage, queue: string): Promise<void> {
  await stage.administer((channel) => channel.deleteQueue(queue));
  await stage.hear(stage.handler, `The consumer of ${queue} was cancelled`);
  await eventually(() => exists(stage, "queue", queue), `${queue} to be declared again`);
}

async function deleteUntilNeeded(stage: Stage, queue: string): Promise<void> {
  await stage.administer((channel) => channel.deleteQueue(queue));
  await eventually(() => exists(stage, "queue", queue), `${queue} to be declared again`);
}

function exists(stage: Stage, kind: "queue" | "exchange", name: string): Promise<boolean> {
  return stage.administer(async (channel) => {
    const check = kind === "queue" ? channel.checkQueue(name) : channel.checkExchange(name);
    return check.then(
      () => true,
      () => false,
    );
  });
}
