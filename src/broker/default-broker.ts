/** Chooses the broker of a service: the one at the given address, else the one from the environment, else the embedded one. */

import { ConfluoError } from "../errors.ts";
import type { Logger } from "../logging/logger.ts";
import { Broker, type BrokerAddress, isBroker } from "./broker.ts";
import { isMemory, keyOf, readAddress } from "./broker-address.ts";
import { brokerFromEnvironment } from "./environment.ts";

/**
 * Checks an address without connecting to it.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function checkBrokerAddress(address: BrokerAddress | undefined): BrokerAddress | undefined {
  if (address !== undefined && !isBroker(address)) readAddress(address);
  return address;
}

const shared: unique symbol = Symbol.for("confluo.embedded.1") as never;

/**
 * Returns the embedded broker that the services of a process share. It is stored on `globalThis`, so that services also meet if
 * the process has loaded two copies of this package.
 */
export function sharedEmbeddedBroker(): Broker {
  const holder = globalThis as { [shared]?: Broker };
  holder[shared] ??= new Broker("memory:");
  return holder[shared];
}

// Brokers that were made from an address, each with the key of that address, by which {@link isSameBroker} compares.
const madeFor = new WeakMap<Broker, string>();

/** Returns whether an address stands for the broker that a service already uses. */
export function isSameBroker(present: Broker, address: BrokerAddress): boolean {
  if (isBroker(address)) return address === present;
  if (typeof address === "string" && isMemory(address)) return present === sharedEmbeddedBroker();
  const made = madeFor.get(present);
  return made !== undefined && made === keyOf(address);
}

/**
 * Returns the broker at an address: the given one, else the one in `CONFLUO_BROKER`, else the embedded broker.
 *
 * @throws `NO_BROKER_ADDRESS` when there is no address and `NODE_ENV` is `production`; `INVALID_ARGUMENT`.
 */
export function resolveBroker(address: BrokerAddress | undefined, logger: Logger): Broker {
  if (isBroker(address)) return address;
  const from = (address as string | readonly string[] | undefined) ?? brokerFromEnvironment();
  if (from !== undefined) {
    if (typeof from === "string" && isMemory(from)) return sharedEmbeddedBroker();
    const broker = new Broker(from, { logger });
    madeFor.set(broker, keyOf(from));
    return broker;
  }
  if (process.env.NODE_ENV === "production") {
    throw new ConfluoError(
      "NO_BROKER_ADDRESS",
      "No broker address was given and NODE_ENV is production: set CONFLUO_BROKER=amqp://… or pass an address to " +
        'connect(). To use the embedded broker on purpose, call connect("memory:").',
    );
  }
  announceEmbedded(logger);
  return sharedEmbeddedBroker();
}

const announced: unique symbol = Symbol.for("confluo.embedded.announced") as never;

/** Logs, once per process, that its services use the embedded broker. */
export function announceEmbedded(logger: Logger): void {
  const holder = globalThis as { [announced]?: true };
  if (holder[announced]) return;
  holder[announced] = true;
  // The line concerns the process, not the service that happens to connect first.
  logger.info(
    { service: undefined, instance: undefined },
    "No broker address given: services meet on the embedded broker inside this process (set CONFLUO_BROKER to use RabbitMQ).",
  );
}
