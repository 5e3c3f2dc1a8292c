/**
 * Queues, exchanges and bindings that confluo declares at the broker. Every name and argument here is wire protocol, listed in `docs/protocol.md`: a
 * different value would be refused by the queues of a running fleet, so no option changes any.
 */

/** Arguments of a queue or exchange under RabbitMQ's names. */
type Arguments = Readonly<Record<string, string | number | boolean>>;

/** A queue, with the keys under which it is bound to an exchange. */
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
}

/** How long a calls queue outlives its last consumer, in milliseconds: a restart is bridged, an absent service fails fast. */
export const CALLS_EXPIRE_MS = 30_000;

/** The waits that a retry is made of, in milliseconds. */
export const DELAY_LEVELS_MS = [
  250, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 256_000, 1_024_000,
] as const;

/** One of the waits that a retry is made of. */
export type DelayLevel = (typeof DELAY_LEVELS_MS)[number];

// The broker never decides that a message failed often enough: confluo does, and says why. -1 would mean
// 'no limit' on RabbitMQ 4 and 'none at all' on 3.10, and leaving it out means 20 on 4.
const NO_DELIVERY_LIMIT = 1_000_000_000;

const quorum = {
  "x-queue-type": "quorum",
  "x-queue-leader-locator": "balanced",
  "x-delivery-limit": NO_DELIVERY_LIMIT,
} as const;

// No leader locator: RabbitMQ 3.10 refuses `x-queue-leader-locator` on a classic queue, 4.3 the older
// `x-queue-master-locator`. The queue lives where its first instance is connected.
const classic = { "x-queue-type": "classic" } as const;

// At-least-once dead lettering is at-most-once unless the overflow is reject-publish, too.
function deadLetteringTo(exchange: string): Arguments {
  return {
    "x-dead-letter-exchange": exchange,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
  };
}

/** Names of what all services of a namespace share. */
export class Namespace {
  readonly name: string;
  /** The exchange that events are published to. */
  readonly events: string;
  /** The exchange through which messages come back from delay queues to the queue that they were in. */
  readonly back: string;
  /** The queue of messages that came back to a queue that is gone. */
  readonly orphans: string;
  /** Where instances are asked what they are and do. */
  readonly discovery: string;
  /** The names of the delay levels, each of which its exchange and its queue have. */
  readonly delays: Readonly<Record<DelayLevel, string>>;
  readonly #delayPrefix: string;

  constructor(name: string) {
    this.name = name;
    this.events = `${name}.events`;
    this.back = `${name}.back`;
    this.orphans = `${name}.orphans`;
    this.discovery = `${name}.discovery`;
    this.#delayPrefix = `${name}.delay.`;
    const delays = DELAY_LEVELS_MS.map((ms) => [ms, `${this.#delayPrefix}${ms}`] as const);
    this.delays = Object.fromEntries(delays) as Record<DelayLevel, string>;
  }

  /** Returns whether a queue is one in which messages wait on purpose. Those of a service may begin alike: it may be named delay. */
  isDelay(queue: string): boolean {
    return queue.startsWith(this.#delayPrefix) && /^\d+$/.test(queue.slice(this.#delayPrefix.length));
  }

  calls(service: string): string {
    return `${this.name}.${service}.calls`;
  }

  inbox(service: string): string {
    return `${this.name}.${service}.inbox`;
  }

  dead(service: string): string {
    return `${this.name}.${service}.dead`;
  }

  /** The queue of a service for messages that hold several calls, which only instances that understand them consume. */
  batches(service: string): string {
    return `${this.calls(service)}.batch`;
  }

  /** Where what may have killed an instance is tried again, alone. */
  again(lane: string): string {
    return `${lane}.again`;
  }

  /** Exchanges of the namespace. */
  exchanges(): readonly DeclaredExchange[] {
    return [
      { name: this.events, type: "topic" },
      { name: this.orphans, type: "fanout" },
      { name: this.discovery, type: "direct" },
      { name: this.back, type: "direct", arguments: { "alternate-exchange": this.orphans } },
      ...DELAY_LEVELS_MS.map((ms) => ({ name: this.delays[ms], type: "fanout" as const })),
    ];
  }

  /** Queues that all services of the namespace share. */
  sharedQueues(): readonly DeclaredQueue[] {
    return [
      { name: this.orphans, arguments: quorum, bindings: [{ exchange: this.orphans, key: "" }] },
      ...DELAY_LEVELS_MS.map((ms) => ({
        name: this.delays[ms],
        arguments: { ...quorum, ...deadLetteringTo(this.back), "x-message-ttl": ms },
        bindings: [{ exchange: this.delays[ms], key: "" }],
      })),
    ];
  }

  /**
   * Where a message shows that what waits in a level comes back: the newest one, for half a minute. Whoever wants to know
   * declares it and sends one; it is gone when nobody has for an hour.
   */
  returned(ms: number): DeclaredQueue {
    const name = `${this.name}.returned.${ms}`;
    return { name, arguments: RETURNED_ARGUMENTS, bindings: [{ exchange: this.back, key: name }] };
  }

  /** The fast lane of a service: calls, calls to try again alone, and messages that hold several calls. */
  callQueues(service: string): readonly [calls: DeclaredQueue, again: DeclaredQueue, batches: DeclaredQueue] {
    const calls = this.calls(service);
    const args = { ...classic, "x-expires": CALLS_EXPIRE_MS };
    return [
      { name: calls, arguments: args },
      { name: this.again(calls), arguments: args },
      { name: this.batches(service), arguments: args },
    ];
  }

  /** The durable lane of a service: one-way commands and events, the same to try again alone, and what gave up. */
  durableQueues(service: string): readonly DeclaredQueue[] {
    const inbox = this.inbox(service);
    const dead = this.dead(service);
    const args = { ...quorum, ...deadLetteringTo(this.back), "x-dead-letter-routing-key": dead };
    return [dead, inbox, this.again(inbox)].map((name) => ({
      name,
      arguments: name === dead ? quorum : args,
      bindings: [{ exchange: this.back, key: name }],
    }));
  }
}

const RETURNED_ARGUMENTS: Arguments = {
  ...classic,
  "x-expires": 3_600_000,
  "x-message-ttl": 30_000,
  "x-max-length": 1,
};

/** An instance's own copies of events: bounded, the oldest dropped, and gone with the instance. */
export const INSTANCE_EVENTS_ARGUMENTS: Arguments = {
  "x-queue-type": "classic",
  "x-max-length": 10_000,
  "x-overflow": "drop-head",
};

/** Questions to an instance: bounded, the oldest dropped, and gone with the instance. */
export const QUESTIONS_ARGUMENTS: Arguments = {
  "x-queue-type": "classic",
  "x-max-length": 100,
  "x-overflow": "drop-head",
};

/** Replies to an instance: gone with it. */
export const REPLIES_ARGUMENTS: Arguments = { "x-queue-type": "classic" };
