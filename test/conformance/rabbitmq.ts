/** The conformance suite on RabbitMQ, in parts that run side by side: most of it is waiting for declarations. */

import { describe, it } from "vitest";
import type { Broker } from "../../src/index.ts";
import { conformance, type Topic } from "../../src/testing/index.ts";
import { deleteNamespace, freshBroker } from "../support/rabbitmq.ts";

/** How the suite is run. */
export interface Run {
  readonly name?: string;
  /** Declares every `of`-th topic, from the `part`-th on. Default: all. */
  readonly part?: number;
  readonly of?: number;
  readonly gathersEagerly?: boolean;
  /** The topics to take. Default: all. */
  readonly only?: readonly Topic[];
}

/** Declares the suite, or a part of it. */
export function conformanceOfRabbitMQ(run: Run): void {
  const { name = "RabbitMQ", part = 1, of = 1, gathersEagerly = false, only } = run;
  let topics = 0;
  const describeMine = (title: string, define: () => void): unknown => {
    if (title === `conformance of ${name}`) return describe(title, define);
    topics += 1;
    return topics % of === part % of ? describe(title, define) : undefined;
  };
  const open = async () => {
    const broker = freshBroker();
    broker.gathersEagerly = gathersEagerly;
    const services = recordServices(broker);
    return { broker, close: () => deleteNamespace(broker.namespace, services) };
  };
  conformance({ describe: describeMine, it }, { name, open }, only);
}

// Which services a test used is known by the queues that they declared.
function recordServices(broker: Broker): ReadonlySet<string> {
  const services = new Set<string>();
  const { transport } = broker;
  const join = transport.openSession.bind(transport);
  transport.openSession = (member, signal) => {
    services.add(member.service);
    return join(member, signal);
  };
  return services;
}
