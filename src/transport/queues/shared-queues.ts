/** The queues that the instances of a service share: declared, bound and consumed on one connection after the other. */

import { settleAll } from "../../async/concurrently.ts";
import { isConfluoError } from "../../errors.ts";
import type { DeclaredQueue, Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import type { SessionConnection } from "../session/connection-slot.ts";
import type { SessionListener } from "../transport.ts";
import { madeOnce, type QueueCreation } from "./being-made.ts";
import type { Consumers } from "./consumers.ts";
import { bindAll, declare, declareQueues } from "./declare.ts";
import { type CallPlace, type QueueReceiver, type SharedPlace, sources } from "./places.ts";
import { losesMarks, renewCallQueues } from "./renewal.ts";

/** The parts that shared queues work with. */
export interface SharedQueuesDependencies {
  readonly member: SessionListener;
  readonly connection: SessionConnection;
  readonly consumers: Consumers;
  readonly receiver: QueueReceiver;
  /** Returns whether a client is the present one, and anything granted on it is wanted. */
  isStanding(client: AmqpClient): boolean;
  /** Returns whether a place may be consumed at the moment. */
  mayTake(place: SharedPlace): boolean;
  /** The broker ended a consumer: it is to be attached again soon. */
  onCancelled(place: SharedPlace): void;
  /** A queue cannot be had at the moment: it is to be tried again later. */
  onUnavailable(place: SharedPlace, error: unknown): void;
}

const CALL_PLACES = ["calls", "calls batch"] as const;
/** No broker stops and starts again in less than that. */
const RESTART_MS = 500;
/** A broker that takes longer to refuse has looked for a node that is down. */
const PROMPT_MS = 1_000;

/** A failed attempt to consume a queue for calls. */
interface FailedAttach {
  readonly error: unknown;
  readonly tookMs: number;
  attach(): Promise<void>;
}

/** A service's queues, all but those of an instance alone. */
export class SharedQueues {
  readonly #parts: SharedQueuesDependencies;
  readonly #namespace: Namespace;
  readonly #service: string;
  /** True if messages that hold several calls are welcome. */
  readonly #takesBatches: boolean;
  readonly names: Readonly<Record<SharedPlace, string>>;
  // Keys of bindings that stand.
  readonly #bound = new Set<string>();
  #declaredOn: AmqpClient | undefined;
  #callsAllowed: number;
  // All instances lose it in the same moment, and make it again together.
  #isInboxLost = false;
  /** Since when calls are not consumed; for ever, if they never were or a node of the broker was seen to be down. */
  #callsLostAt: number | undefined = Number.NEGATIVE_INFINITY;

  constructor(parts: SharedQueuesDependencies) {
    this.#parts = parts;
    const { service, prefetch, batching } = parts.member;
    const { namespace } = parts.connection;
    this.#namespace = namespace;
    this.#service = service;
    this.#takesBatches = batching.maxCalls > 1;
    this.#callsAllowed = prefetch.calls;
    const [calls, inbox] = [namespace.calls(service), namespace.inbox(service)];
    this.names = {
      calls,
      inbox,
      "calls alone": namespace.again(calls),
      "calls batch": namespace.batches(service),
      "inbox alone": namespace.again(inbox),
    };
  }

  isBound(key: string): boolean {
    return this.#bound.has(key);
  }

  /** Names of the queues that are not consumed. */
  get missing(): readonly string[] {
    const places = Object.keys(this.names) as SharedPlace[];
    const wanted = places.filter((place) => place !== "calls batch" || this.#takesBatches);
    return wanted.filter((place) => !this.#isConsumed(place)).map((place) => this.names[place]);
  }

  /**
   * Declares the durable lane and binds it. Each once on a connection: what failed before is done when it is asked for again.
   */
  async bind(client: AmqpClient, keys: Iterable<string>): Promise<void> {
    await this.#declare(client, true);
    await this.#bindAll(client, keys);
  }

  /** Consumes the durable lane, once it is bound. */
  async consumeInbox(client: AmqpClient): Promise<void> {
    await settleAll([
      this.#consume(client, "inbox"),
      this.#orLater("inbox alone", () => this.#consume(client, "inbox alone")),
    ]);
  }

  /** The same on a connection that takes another's place: it goes on with what there is. */
  async resumeInbox(client: AmqpClient, keys: Iterable<string>): Promise<void> {
    await this.#declare(client, this.#isInboxLost);
    await settleAll([
      this.#orLater("inbox", () => this.#consume(client, "inbox")),
      this.#orLater("inbox alone", () => this.#consume(client, "inbox alone")),
      this.#bindAll(client, keys),
    ]);
  }

  /** Declares and consumes the fast lane. */
  async consumeCalls(client: AmqpClient): Promise<void> {
    // One after the other: where a node is down, a question about one of the two may take seconds, and the first is in need.
    await this.consumeCallsAt(client, "calls");
    if (this.#takesBatches) await this.consumeCallsAt(client, "calls batch");
    await this.consumeCallsAt(client, "calls alone");
  }

  /** The same for one queue of it. */
  async consumeCallsAt(client: AmqpClient, place: CallPlace): Promise<void> {
    const [calls, again, batches] = this.#namespace.callQueues(this.#service);
    const plan = { calls, "calls alone": again, "calls batch": batches }[place];
    const attach = async (): Promise<void> => {
      await declare(client, plan);
      await this.#consume(client, place);
    };
    let since = performance.now();
    const renewThenAttach = async (): Promise<void> => {
      if (this.#callsLostAt !== undefined) await this.#renewCalls(client, place, this.#callsLostAt);
      since = performance.now();
      await attach();
    };
    await this.#orLater(place, () =>
      renewThenAttach().catch((error: unknown) =>
        this.#attachAnew(client, plan, { error, attach, tookMs: performance.now() - since }),
      ),
    );
  }

  // The broker may have been stopped meanwhile.
  async #renewCalls(client: AmqpClient, place: CallPlace, lostAt: number): Promise<void> {
    if (!this.#parts.mayTake("calls")) return;
    this.#callsLostAt = undefined;
    if (performance.now() - lostAt < RESTART_MS || !losesMarks(client.server)) return;
    try {
      await this.#renewUnused(client);
    } catch (error) {
      if (isConfluoError(error, "CONNECTION_LOST")) this.#callsLostAt ??= lostAt; // with the next one, then
      // Where the queue itself cannot be had, asking for it once more may take seconds. All else is told to who consumes.
      if (place === "calls" && isConfluoError(error, "UNAVAILABLE")) throw error;
    }
  }

  /** @throws `UNAVAILABLE` only if the queue for calls is not available. */
  async #renewUnused(client: AmqpClient): Promise<void> {
    const { receiver } = this.#parts;
    const [calls, again, batches] = this.#namespace.callQueues(this.#service);
    if ((await client.inspectQueue(calls.name))?.consumers !== 0) return;
    const renewing = renewCallQueues(client, {
      calls,
      batches,
      again,
      giveSign: () => this.consumeCallsAt(client, "calls alone"),
      isSignGiven: () => this.#isConsumed("calls alone"),
      hold: (delivery) => receiver.hold(sources.calls, delivery),
      canReturn: () => !receiver.isClosing,
    });
    await renewing.catch((error: unknown) => {
      if (!isConfluoError(error, "UNAVAILABLE")) throw error;
    });
  }

  /** The inbox itself may be gone, and its bindings with it. */
  forgetInbox(): void {
    this.#isInboxLost = true;
    this.#declaredOn = undefined;
    this.#bound.clear();
  }

  /** Has so many messages of calls handed over before one of them is settled, on this connection and the next ones. */
  allowCalls(messages: number): void {
    this.#callsAllowed = messages;
    for (const place of CALL_PLACES) this.#parts.consumers.allow(place, messages);
  }

  /** The connection is gone, and all that was attached to it. */
  forget(): void {
    if (this.#isConsumed("calls")) this.#callsLostAt = performance.now();
    this.forgetInbox();
    this.#isInboxLost = false;
  }

  #isConsumed(place: SharedPlace): boolean {
    return this.#parts.consumers.isTaken(place);
  }

  async #declare(client: AmqpClient, isDoubtful: boolean): Promise<void> {
    if (this.#declaredOn === client) return;
    const queues = this.#namespace.durableQueues(this.#service);
    await madeOnce(client, this.#making(client, isDoubtful), () => declareQueues(client, queues));
    this.#declaredOn = client;
    this.#isInboxLost = false;
  }

  #making(client: AmqpClient, isDoubtful: boolean): QueueCreation {
    const { inbox, "inbox alone": again, "calls alone": sign } = this.names;
    const [, plan] = this.#namespace.callQueues(this.#service);
    return {
      queues: [inbox, again],
      sign,
      declareSign: () => declare(client, plan),
      giveSign: () => this.consumeCallsAt(client, "calls alone"),
      isSignGiven: () => this.#isConsumed("calls alone"),
      isDoubtful,
    };
  }

  async #bindAll(client: AmqpClient, keys: Iterable<string>): Promise<void> {
    await bindAll(client, {
      queue: this.names.inbox,
      exchange: this.#namespace.events,
      keys: [...keys].filter((key) => !this.#bound.has(key)),
      onBound: (key) => {
        if (this.#parts.isStanding(client)) this.#bound.add(key);
      },
    });
  }

  async #consume(client: AmqpClient, place: SharedPlace): Promise<void> {
    const { member, connection, consumers, receiver, mayTake, onCancelled } = this.#parts;
    if (this.#isConsumed(place) || !mayTake(place)) return;
    const queue = this.names[place];
    await consumers.take(place, client, {
      queue,
      prefetch: prefetchOf(place, member.prefetch),
      onDelivery: receiver.takerOf(sources[place]),
      hasWaitingAnswers: receiver.hasWaitingAnswers,
      onCancelled: (reason) => {
        connection.warn(
          { queue, err: reason },
          `The consumer of ${queue} was cancelled; attaching it again.`,
        );
        receiver.ended(place);
        onCancelled(place);
      },
    });
    if (place === "calls" || place === "calls batch") consumers.allow(place, this.#callsAllowed);
  }

  // One queue that cannot be had must not hold up the others: it is tried again on its own.
  async #orLater(place: SharedPlace, attach: () => Promise<void>): Promise<void> {
    if (this.#isConsumed(place)) return;
    try {
      await attach();
    } catch (error) {
      if (!isConfluoError(error, "UNAVAILABLE")) throw error;
      this.#parts.onUnavailable(place, error);
    }
  }

  // A calls queue lives on one node of a cluster. With that node down it can be neither declared nor consumed, and what it
  // held is worth nothing: another takes its place. RabbitMQ 3.10 does not allow that.
  async #attachAnew(
    client: AmqpClient,
    { name: queue }: DeclaredQueue,
    { error, attach, tookMs }: FailedAttach,
  ): Promise<void> {
    if (!isConfluoError(error, "UNAVAILABLE")) throw error;
    this.#callsLostAt = Number.NEGATIVE_INFINITY;
    if (tookMs < PROMPT_MS && losesMarks(client.server) && (await this.#isThereNow(attach))) return;
    // Someone who consumes from it has made it anew already: then it need only be asked for again.
    await client.deleteQueue(queue, "unused").catch((cause: unknown) => {
      if (!isConfluoError(cause, "TOPOLOGY_CONFLICT")) throw cause;
    });
    await attach();
    this.#callsLostAt = undefined;
    this.#parts.connection.warn({ queue, err: error }, `${queue} was not available; it was made anew.`);
  }

  // Another instance may have been making it anew in that moment.
  async #isThereNow(attach: () => Promise<void>): Promise<boolean> {
    try {
      await attach();
    } catch (error) {
      if (isConfluoError(error, "UNAVAILABLE")) return false;
      throw error;
    }
    this.#callsLostAt = undefined;
    return true;
  }
}

function prefetchOf(place: SharedPlace, { calls, inbox }: SessionListener["prefetch"]): number {
  switch (place) {
    case "calls":
    case "calls batch":
      return calls;
    case "inbox":
      return inbox;
    case "calls alone":
    case "inbox alone":
      return 1;
    default:
      return place satisfies never;
  }
}
