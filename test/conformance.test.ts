import { describe, it } from "vitest";
import { Broker } from "../src/index.ts";
import { conformance } from "../src/testing/index.ts";
import { deleteNamespace, freshBroker } from "./support/rabbitmq.ts";

conformance(
  { describe, it },
  {
    name: "the embedded broker",
    open: async () => ({ broker: new Broker("memory:"), close: async () => undefined }),
  },
);

conformance(
  { describe, it },
  {
    name: "RabbitMQ",
    open: async () => {
      const broker = freshBroker();
      const services = recordServices(broker);
      return { broker, close: () => deleteNamespace(broker.namespace, services) };
    },
  },
);

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
