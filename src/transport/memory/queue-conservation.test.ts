import { setImmediate } from "node:timers";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { AmqpClient, AmqpDelivery, Consumer } from "../amqp-client.ts";
import { EmbeddedBroker } from "./embedded-broker.ts";

type Step =
  | { readonly do: "publish" | "turn" | "consume" | "disconnect" }
  | { readonly do: "ack" | "requeue" | "cancel" | "close"; readonly which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom("publish", "turn") } as const) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("consume", "disconnect") } as const) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom("ack", "requeue"), which: fc.nat(20) } as const) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("cancel", "close"), which: fc.nat(5) } as const) },
);

test.each(["classic", "quorum"])(
  "whatever is done to a %s queue, no message is lost, doubled or stuck",
  async (type) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const broker = new EmbeddedBroker();
        const publisher = broker.connect();
        await publisher.declareQueue({ name: "q", arguments: { "x-queue-type": type } });
        const open = new Set<number>();
        const deliveries: AmqpDelivery[] = [];
        const consumers: Consumer[] = [];
        let client: AmqpClient = broker.connect();
        let published = 0;
        for (const each of steps) {
          switch (each.do) {
            case "publish":
              open.add(published);
              publisher.post("q", { body: new Uint8Array([published]), properties: {} });
              published += 1;
              break;
            case "turn":
              await nextTurn();
              break;
            case "consume": {
              const onDelivery = (delivery: AmqpDelivery): void => void deliveries.push(delivery);
              const prefetch = 1 + (consumers.length % 3);
              consumers.push(
                await client.consume({ queue: "q", prefetch, onDelivery, onCancelled: () => {} }),
              );
              break;
            }
            case "disconnect":
              broker.disconnect(client);
              client = broker.connect();
              deliveries.length = 0;
              consumers.length = 0;
              break;
            case "ack": {
              const [delivery] = deliveries.splice(each.which % (deliveries.length || 1), 1);
              const before = heldBy(broker);
              delivery?.ack();
              if (delivery !== undefined && heldBy(broker) !== before) open.delete(bodyOf(delivery));
              break;
            }
            case "requeue":
              deliveries.splice(each.which % (deliveries.length || 1), 1)[0]?.requeue();
              break;
            case "cancel":
              void consumers[each.which % (consumers.length || 1)]?.cancel();
              break;
            case "close":
              await consumers[each.which % (consumers.length || 1)]?.close();
              break;
            default:
              each satisfies never;
          }
          const [queue] = broker.queues();
          expect((queue?.messages ?? 0) + (queue?.unacked ?? 0)).toBe(open.size);
        }
        broker.disconnect(client);
        const left = Array.from(open, () => broker.take("q")?.body[0]);
        expect(type === "classic" ? left : left.sort((a = 0, b = 0) => a - b)).toEqual([...open]);
        expect(broker.queues()).toEqual([{ name: "q", messages: 0, unacked: 0, consumers: 0 }]);
      }),
      { numRuns: 200 },
    );
  },
);

/** An ack after its consumer's close does nothing, and only this count tells. */
function heldBy(broker: EmbeddedBroker): number {
  const [queue] = broker.queues();
  return (queue?.messages ?? 0) + (queue?.unacked ?? 0);
}

function bodyOf({ message }: AmqpDelivery): number {
  return message.body[0] ?? -1;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
