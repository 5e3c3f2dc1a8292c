/**
 * The queues, exchanges and bindings that confluo declares at the broker; those of the delay levels are in delays.ts. All names
 * and arguments are part of the wire protocol and listed in `docs/protocol.md`. The existing queues of a running fleet would
 * refuse other values, so no option changes them.
 */

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

/**
 * The arguments of a classic queue. It is on the node to which its first instance is connected. No leader locator: RabbitMQ 3.10
 * refuses `x-queue-leader-locator` on a classic queue, and 4.3 refuses the older `x-queue-master-locator`.
 */
export const classic = { "x-queue-type": "classic" } as const;

/**
 * The arguments of a quorum queue that loses no message when it dead-letters. Without `reject-publish`, RabbitMQ would
 * dead-letter at most once, despite the strategy.
 */
export const quorumDeadLettering: Arguments = {
  ...quorum,
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish",
};

/** The number of delay levels: so many digits precede the name of a queue in the routing key of a message that returns to it. */
export const LEVELS = 26;
/** The binding key of a queue to the exchange through which messages return: any digits, then the queue's name. */
export const anyDigits: string = "*.".repeat(LEVELS);

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

  constructor(name: string) {
    this.name = name;
    this.events = `${name}.events`;
    this.back = `${name}.back`;
    this.due = `${name}.due`;
    this.orphans = `${name}.orphans`;
    this.discovery = `${name}.discovery`;
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
    const args = {
      ...quorumDeadLettering,
      "x-dead-letter-exchange": this.back,
      "x-dead-letter-routing-key": dead,
    };
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
