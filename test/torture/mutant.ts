/**
 * Faults of the package itself, put in from outside: imported by a process before its program, this module wraps
 * amqplib's channels so that one in a few of their messages or acknowledgements vanishes, though all look as if they had
 * arrived. A torture that does not find such a fault would not find a real one either.
 */

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Channel, ConfirmChannel, ConsumeMessage } from "amqplib";

/** What vanishes: what publishers publish and send, acknowledgements, dead letters, answers. */
export const mutants = ["publishes", "acknowledgements", "letters", "answers"] as const;
export type Mutant = (typeof mutants)[number];

export interface Mutation {
  readonly mutant: Mutant;
  readonly oneIn: number;
}

const parameter = "mutation";

/** The module to import for it. */
export function mutantModule({ mutant, oneIn }: Mutation): string {
  const url = pathToFileURL(import.meta.filename);
  url.searchParams.set(parameter, `${mutant}/${oneIn}`);
  return url.href;
}

const [given = "", every] = (new URL(import.meta.url).searchParams.get(parameter) ?? "").split("/");
const chosen = mutants.find((mutant) => mutant === given);
if (chosen !== undefined) mutate({ mutant: chosen, oneIn: Number(every) });

function mutate({ mutant, oneIn }: Mutation): void {
  const require = createRequire(import.meta.url);
  // The classes are not exported, though their files are there.
  const classes: Classes = require(join(dirname(require.resolve("amqplib")), "lib", "channel_model.js"));
  // Not from 0: a process that lives for less than so many would drop none.
  let count = Math.floor(Math.random() * oneIn);
  const vanishes = (): boolean => {
    count += 1;
    return count % oneIn === 0;
  };
  switch (mutant) {
    case "publishes":
      dropConfirmed(
        classes,
        (exchange, key) => (exchange.endsWith(".events") || key.endsWith(".inbox")) && vanishes(),
      );
      break;
    case "letters":
      dropConfirmed(classes, (_, key) => key.endsWith(".dead") && vanishes());
      break;
    case "answers":
      dropUnconfirmed(classes, vanishes);
      break;
    case "acknowledgements":
      dropAcknowledgements(classes, vanishes);
      break;
    default:
      mutant satisfies never;
  }
}

interface Classes {
  readonly Channel: { readonly prototype: Channel };
  readonly ConfirmChannel: { readonly prototype: ConfirmChannel };
}

/** What vanishes is confirmed all the same. */
function dropConfirmed(
  { ConfirmChannel: { prototype } }: Classes,
  isDropped: (exchange: string, key: string) => boolean,
): void {
  const { publish } = prototype;
  prototype.publish = function (exchange, key, content, options, callback) {
    if (!isDropped(exchange, key)) return publish.call(this, exchange, key, content, options, callback);
    setImmediate(() => callback?.(null, {}));
    return true;
  };
}

/** Answers, and nothing else, go out without a confirm. */
function dropUnconfirmed(
  { Channel: { prototype }, ConfirmChannel }: Classes,
  isDropped: () => boolean,
): void {
  const { publish } = prototype;
  prototype.publish = function (...args) {
    const isAnswer = !Object.prototype.isPrototypeOf.call(ConfirmChannel.prototype, this);
    return isAnswer && isDropped() ? true : publish.apply(this, args);
  };
}

/** One that is for all messages up to one is taken apart, since a later one would make up for what has vanished. */
function dropAcknowledgements({ Channel: { prototype } }: Classes, isDropped: () => boolean): void {
  const { ack, consume } = prototype;
  const unsettled = new WeakMap<Channel, Map<number, ConsumeMessage>>();
  prototype.consume = function (queue, onMessage, options) {
    const take = (message: ConsumeMessage | null): void => {
      if (message !== null) {
        const messages = unsettled.get(this) ?? new Map<number, ConsumeMessage>();
        unsettled.set(this, messages.set(message.fields.deliveryTag, message));
      }
      onMessage(message);
    };
    return consume.call(this, queue, take, options);
  };
  prototype.ack = function ({ fields: { deliveryTag } }, allUpTo = false) {
    const messages = unsettled.get(this);
    for (const [tag, message] of messages ?? []) {
      if (allUpTo ? tag > deliveryTag : tag !== deliveryTag) continue;
      messages?.delete(tag);
      if (!isDropped()) ack.call(this, message);
    }
  };
}
