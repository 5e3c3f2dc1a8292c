/**
 * The queues, exchanges and bindings that confluo declares at the broker. All names and arguments are part of the wire protocol
 * and listed in `docs/protocol.md`. The existing queues of a running fleet would refuse other values, so no option changes
 * them.
 */

import { anyDigits, digitsAbove, highestLevel, LEVELS, levelMs, levelsOf } from "./delays.ts";

/** The arguments of a queue or exchange, with RabbitMQ's names. */
type Arguments = Readonly<Record<string, string | number | boolean>>;

/** A queue, with its bindings. */
export interface DeclaredQueue {
  readonly name: string;
  readonly arguments: Arguments;
  readonly bindings?: readonly { readonly exchange: string; readonly key: string }[];
}

/** An exchange. */
export interface DeclaredExchange {
  readonly name: string;
  readonly type: "direct" | "topic" | "fanout";
  readonly arguments?: Arguments;
  /** An exchange that also gets the messages whose keys match a binding key. */
  readonly passesTo?: { readonly exchange: string; readonly key: string };
}

/**
 * How long a queue for calls exists without a consumer, in milliseconds: long enough for a restart, while calls to an absent
 * service soon fail.
 */
export const CALLS_EXPIRE_MS = 30_000;

// confluo, and not the broker, decides when a message has failed too often, and records the reason. -1 would mean 'no limit' on
// RabbitMQ 4 but 'none at all' on 3.10, and leaving the argument out means 20 on 4.
const NO_DELIVERY_LIMIT = 1_000_000_000;

const quorum = {
  "x-queue-type": "quorum",
  "x-queue-leader-locator": "balanced",
  "x-delivery-limit": NO_DELIVERY_LIMIT,
} as const;

// No leader locator: RabbitMQ 3.10 refuses `x-queue-leader-locator` on a classic queue, and 4.3 refuses the older
// `x-queue-master-locator`. The queue is on the node to which its first instance is connected.
const classic = { "x-queue-type": "classic" } as const;

// Without `reject-publish`, RabbitMQ would dead-letter at most once, despite the strategy.
function deadLetteringTo(exchange: string): Arguments {
  return {
    "x-dead-letter-exchange": exchange,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
  };
}

/** The names in one namespace. */
export class Namespace {
  readonly name: string;
  /** The exchange that events are published to. */
  readonly events: string;
  /** The exchange through which the broker dead-letters from an inbox. */
  readonly back: string;
  /** The exchange through which messages return after a wait. */
  readonly due: string;
  /** The queue of messages whose queue was gone when they returned. */
  readonly orphans: string;
  /** The exchange for discovery questions. */
  readonly discovery: string;
  readonly #waitPrefix: string;
  readonly #oldDelayPrefix: string;

  constructor(name: string) {
    this.name = name;
    this.events = `${name}.events`;
    this.back = `${name}.back`;
    this.due = `${name}.due`;
    this.orphans = `${name}.orphans`;
    this.discovery = `${name}.discovery`;
    this.#waitPrefix = `${name}.wait.`;
    this.#oldDelayPrefix = `${name}.delay.`;
  }

  /** Returns the name of a delay level, which its exchange and its queue share. */
  wait(level: number): string {
    return `${this.#waitPrefix}${level}`;
  }

  /**
   * Returns whether messages wait in a queue, or in the queue of an exchange, on purpose. The queues of services named `wait` or
   * `delay` begin in the same way.
   */
  isDelay(name: string): boolean {
    return isNumbered(name, this.#waitPrefix) || isNumbered(name, this.#oldDelayPrefix);
  }

  /**
   * Returns whether messages that come through an exchange were published to a queue by name: through the default exchange, or
   * back from a wait or a death. All other exchanges carry events.
   */
  isReturn(exchange: string): boolean {
    const isNamed = exchange === "" || exchange === this.due || exchange === this.back;
    return isNamed || isNumbered(exchange, this.#waitPrefix);
  }

  /** Returns the name of a service's queue for calls. */
  calls(service: string): string {
    return `${this.name}.${service}.calls`;
  }

  /** Returns the name of a service's inbox, for one-way commands and events. */
  inbox(service: string): string {
    return `${this.name}.${service}.inbox`;
  }

  /** Returns the name of a service's queue for dead letters. */
  dead(service: string): string {
    return `${this.name}.${service}.dead`;
  }

  /** Returns the name of a service's queue for batches of calls, which only instances that understand batches consume. */
  batches(service: string): string {
    return `${this.calls(service)}.batch`;
  }

  /** Returns the name of the queue in which messages of a lane are handled alone, because they may have killed an instance. */
  again(lane: string): string {
    return `${lane}.again`;
  }

  /** Returns the exchanges of the namespace. */
  exchanges(): readonly DeclaredExchange[] {
    return [
      { name: this.events, type: "topic" },
      { name: this.orphans, type: "fanout" },
      { name: this.discovery, type: "direct" },
      { name: this.back, type: "direct", arguments: { "alternate-exchange": this.orphans } },
      { name: this.due, type: "topic", arguments: { "alternate-exchange": this.orphans } },
    ];
  }

  /** Returns the queues that all services of the namespace share. */
  sharedQueues(): readonly DeclaredQueue[] {
    return [{ name: this.orphans, arguments: quorum, bindings: [{ exchange: this.orphans, key: "" }] }];
  }

  /** Returns the exchanges of the levels up to that of the highest digit, the lowest first. Each passes to the one below. */
  levelExchanges(quarters: number): readonly DeclaredExchange[] {
    return Array.from({ length: highestLevel(quarters) + 1 }, (_, level) => ({
      name: this.wait(level),
      type: "topic",
      passesTo: { exchange: this.#below(level), key: `${digitsAbove(level)}0.#` },
    }));
  }

  /** Returns the queues of the levels in which a message stays, the lowest first. */
  levelQueues(quarters: number): readonly DeclaredQueue[] {
    return levelsOf(quarters).map((level) => {
      const name = this.wait(level);
      return {
        name,
        arguments: { ...quorum, ...deadLetteringTo(this.#below(level)), "x-message-ttl": levelMs(level) },
        bindings: [{ exchange: name, key: `${digitsAbove(level)}1.#` }],
      };
    });
  }

  /** Returns the names of all levels, the lowest first. Those that were never needed do not exist. */
  levels(): readonly { readonly name: string; readonly ms: number }[] {
    return Array.from({ length: LEVELS }, (_, level) => ({ name: this.wait(level), ms: levelMs(level) }));
  }

  // Returns the exchange to which a level passes, and to which its queue dead-letters.
  #below(level: number): string {
    return level === 0 ? this.due : this.wait(level - 1);
  }

  /**
   * Returns the queue that shows if messages return from a delay level. It contains the newest message that returned, for 30 s.
   * A client that checks a level declares the queue and sends a message through the level. The queue is deleted after an hour
   * without use.
   */
  returned(level: number): DeclaredQueue {
    const name = `${this.name}.returned.${level}`;
    return {
      name,
      arguments: RETURNED_ARGUMENTS,
      bindings: [{ exchange: this.due, key: `${anyDigits}${name}` }],
    };
  }

  /** Returns a service's queues for calls: for single calls, for calls that are handled alone, and for batches. */
  callQueues(service: string): readonly [calls: DeclaredQueue, again: DeclaredQueue, batches: DeclaredQueue] {
    const calls = this.calls(service);
    const args = { ...classic, "x-expires": CALLS_EXPIRE_MS };
    return [
      { name: calls, arguments: args },
      { name: this.again(calls), arguments: args },
      { name: this.batches(service), arguments: args },
    ];
  }

  /**
   * Returns a service's durable queues: for dead letters, for one-way commands and events, and for those that are handled
   * alone.
   */
  durableQueues(service: string): readonly DeclaredQueue[] {
    const inbox = this.inbox(service);
    const dead = this.dead(service);
    const args = { ...quorum, ...deadLetteringTo(this.back), "x-dead-letter-routing-key": dead };
    return [dead, inbox, this.again(inbox)].map((name) => ({
      name,
      arguments: name === dead ? quorum : args,
      bindings: [
        { exchange: this.back, key: name },
        { exchange: this.due, key: `${anyDigits}${name}` },
      ],
    }));
  }
}

function isNumbered(name: string, prefix: string): boolean {
  return name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length));
}

const RETURNED_ARGUMENTS: Arguments = {
  ...classic,
  "x-expires": 3_600_000,
  "x-message-ttl": 30_000,
  "x-max-length": 1,
};

/** The arguments of the queue for an instance's own copies of events: limited, the oldest are dropped. */
export const INSTANCE_EVENTS_ARGUMENTS: Arguments = {
  "x-queue-type": "classic",
  "x-max-length": 10_000,
  "x-overflow": "drop-head",
};

/** The arguments of the queue for discovery questions: limited, the oldest are dropped. */
export const QUESTIONS_ARGUMENTS: Arguments = {
  "x-queue-type": "classic",
  "x-max-length": 100,
  "x-overflow": "drop-head",
};

/** The arguments of the queue for replies. */
export const REPLIES_ARGUMENTS: Arguments = { "x-queue-type": "classic" };
