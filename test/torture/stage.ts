/** The broker of a run: one that is given, a node of its own, or a cluster of its own. */

import { setTimeout as sleep } from "node:timers/promises";
import { startTestBroker, startTestBroker4 } from "../../scripts/test-broker.mjs";
import { clusterSize, startCluster } from "./cluster.ts";
import { home } from "./home.ts";
import type { TortureOptions } from "./torture.ts";

export interface Stage extends Pick<TortureOptions, "brokerUrls" | "brokerFaults"> {
  readonly description: string;
  /** Ends what was started, within a limit. */
  stop(): Promise<void>;
}

const everyMs = 40_000;
const nodeEveryMs = 25_000;
const recoveryMs = 10_000;
/** A node that comes back moves queues and their leaders, again and again. */
const clusterRecoveryMs = 30_000;
const stopTimeoutMs = 30_000;

export async function setStage(options: {
  readonly broker?: string | undefined;
  readonly rabbitmq4: boolean;
  readonly cluster: boolean;
}): Promise<Stage> {
  if (options.cluster) return setCluster();
  const { broker: given } = options;
  const env = given === undefined ? process.env : { ...process.env, CONFLUO_TEST_BROKER: given };
  const broker = await (options.rabbitmq4 ? startTestBroker4 : startTestBroker)({ env });
  const { restart } = broker;
  return {
    brokerUrls: broker.url.split(",").map((url) => url.trim()),
    description: broker.description,
    ...(restart && { brokerFaults: { restart, everyMs, recoveryMs, nodes: 0 } }),
    stop: () => Promise.race([broker.stop(), sleep(stopTimeoutMs, undefined, { ref: false })]),
  };
}

async function setCluster(): Promise<Stage> {
  const place = home();
  if (place === undefined) throw new Error("A cluster has to be started inside of a network of its own.");
  const { urls, description, strike } = await startCluster(place.network, place.folder);
  return {
    brokerUrls: urls,
    description,
    brokerFaults: { strike, everyMs: nodeEveryMs, recoveryMs: clusterRecoveryMs, nodes: clusterSize },
    // It ends with the network.
    stop: async () => undefined,
  };
}
