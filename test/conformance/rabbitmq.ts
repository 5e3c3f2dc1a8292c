/** The conformance suite on RabbitMQ, in parts that run side by side: most of it is waiting for declarations. */

import { describe, it } from "vitest";
import type { Broker } from "../../src/index.ts";
import { conformance } from "../../src/testing/index.ts";
import { deleteNamespace, freshBroker } from "../support/rabbitmq.ts";

const NAME = "RabbitMQ";

/** Declares every `of`-th topic, from the `part`-th on. */
export function conformanceOfRabbitMQ(part: number, of: number): void {
  let topics = 0;
  const describeMine = (name: string, define: () => void): unknown => {
    if (name === `conformance of ${NAME}`) return describe(name, define);
    topics += 1;
    return topics % of === part % of ? describe(name, define) : undefined;
  };
  conformance(
    { describe: describeMine, it },
    {
      name: NAME,
      open: async () => {
        const broker = freshBroker();
        const services = recordServices(broker);
        return { broker, close: () => deleteNamespace(broker.namespace, services) };
      },
    },
  );
}

// Which services a test used is known by the queues that they declared.
function recordServices(broker: Broker): ReadonlySet<string> {
  const services = new Set<string>();
  const { transport } = broker;
  const join = transport.join.bind(transport);
  transport.join = (member, signal) => {
    services.add(member.service);
    return join(member, signal);
  };
  return services;
}
