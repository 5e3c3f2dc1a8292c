/** The queues that the instances of a service share: declared, bound and consumed on each connection. */

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

/** The parts that {@link SharedQueues} work with. */
export interface SharedQueuesDependencies {
  readonly member: SessionListener;
  readonly connection: SessionConnection;
  readonly consumers: Consumers;
  readonly receiver: QueueReceiver;
  /** Returns whether a client is the current one and the session still wants to consume. */
  isStanding(client: AmqpClient): boolean;
  /** Returns whether a place may be consumed at the moment. */
  mayTake(place: SharedPlace): boolean;
  /** Is called when the broker has ended a consumer, which must be attached again soon. */
  onCancelled(place: SharedPlace): void;
  /** Is called when a queue is not available at the moment, so that it must be tried again later. */
  onUnavailable(place: SharedPlace, error: unknown): void;
}

const CALL_PLACES = ["calls", "calls batch"] as const;
/** A connection that was lost for less, in milliseconds, did not break because the broker restarted. */
const RESTART_MS = 500;
/** A refusal that takes longer, in milliseconds, means that the broker tried to reach a node that is down. */
const PROMPT_MS = 1_000;

/** A failed attempt to consume a queue for calls. */
interface FailedAttach {
  readonly error: unknown;
  readonly tookMs: number;
  attach(): Promise<void>;
}

/** The queues of a service, without those of a single instance. */
export class SharedQueues {
  readonly #parts: SharedQueuesDependencies;
  readonly #namespace: Namespace;
  readonly #service: string;
  /** True if the service accepts batches of calls. */
  readonly #takesBatches: boolean;
  readonly names: Readonly<Record<SharedPlace, string>>;
  // The keys of existing bindings.
  readonly #bound = new Set<string>();
  #declaredOn: AmqpClient | undefined;
  #callsAllowed: number;
  // True after the inbox was lost. All instances lose it at the same moment and declare it again together.
  #isInboxLost = false;
  /**
   * When this instance stopped consuming calls, in milliseconds on the monotonic clock; `-Infinity` if it never consumed them
   * or if a node of the broker was down. `undefined` while the queues need not be renewed.
   */
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

  /** The names of the queues that should be consumed and are not. */
  get missing(): readonly string[] {
    const places = Object.keys(this.names) as SharedPlace[];
    const wanted = places.filter((place) => place !== "calls batch" || this.#takesBatches);
    return wanted.filter((place) => !this.#isConsumed(place)).map((place) => this.names[place]);
  }

  /** Declares the inbox and binds it. What is done already on this connection is not repeated. */
  async bind(client: AmqpClient, keys: Iterable<string>): Promise<void> {
    await this.#declare(client, true);
    await this.#bindAll(client, keys);
  }

  /** Consumes the inbox, once it is bound. */
  async consumeInbox(client: AmqpClient): Promise<void> {
    await settleAll([
      this.#consume(client, "inbox"),
      this.#orLater("inbox alone", () => this.#consume(client, "inbox alone")),
    ]);
  }

  /** Declares, binds and consumes the inbox after a reconnect. A queue that is not available does not fail the rest. */
  async resumeInbox(client: AmqpClient, keys: Iterable<string>): Promise<void> {
    await this.#declare(client, this.#isInboxLost);
    await settleAll([
      this.#orLater("inbox", () => this.#consume(client, "inbox")),
      this.#orLater("inbox alone", () => this.#consume(client, "inbox alone")),
      this.#bindAll(client, keys),
    ]);
  }

  /** Declares and consumes the queues for calls. */
  async consumeCalls(client: AmqpClient): Promise<void> {
    // The most urgent first: if a node is down, a request about one of them may take seconds.
    await this.consumeCallsAt(client, "calls");
    await settleAll([
      ...(this.#takesBatches ? [this.consumeCallsAt(client, "calls batch")] : []),
      this.consumeCallsAt(client, "calls alone"),
    ]);
  }

  /** Declares and consumes one of the queues for calls. */
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

  // Renews the queues for calls if the broker may have been stopped meanwhile.
  async #renewCalls(client: AmqpClient, place: CallPlace, lostAt: number): Promise<void> {
    if (!this.#parts.mayTake("calls")) return;
    this.#callsLostAt = undefined;
    if (performance.now() - lostAt < RESTART_MS || !losesMarks(client.server)) return;
    try {
      await this.#renewUnused(client);
    } catch (error) {
      if (isConfluoError(error, "CONNECTION_LOST")) this.#callsLostAt ??= lostAt; // tried again on the next connection
      // If the queue itself is not available, declaring it may take seconds again, so the caller learns it now. Other errors
      // recur there.
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

  /** Forgets the inbox and its bindings, because they may be gone. */
  forgetInbox(): void {
    this.#isInboxLost = true;
    this.#declaredOn = undefined;
    this.#bound.clear();
  }

  /** Sets how many messages with calls may be delivered and unsettled, on this connection and the next ones. */
  allowCalls(messages: number): void {
    this.#callsAllowed = messages;
    for (const place of CALL_PLACES) this.#parts.consumers.allow(place, messages);
  }

  /** Forgets everything that belonged to the connection, because it is gone. */
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

  // Attaches a place. A queue that is not available is tried again on its own, so that it does not hold up the others.
  async #orLater(place: SharedPlace, attach: () => Promise<void>): Promise<void> {
    if (this.#isConsumed(place)) return;
    try {
      await attach();
    } catch (error) {
      if (!isConfluoError(error, "UNAVAILABLE")) throw error;
      this.#parts.onUnavailable(place, error);
    }
  }

  // Deletes a queue for calls that is not available, and declares it again. Such a queue is on one node of a cluster; while
  // that node is down, the queue can be neither declared nor consumed. Its calls are worth nothing, so a new queue replaces it.
  // RabbitMQ 3.10 does not allow that.
  async #attachAnew(
    client: AmqpClient,
    { name: queue }: DeclaredQueue,
    { error, attach, tookMs }: FailedAttach,
  ): Promise<void> {
    if (!isConfluoError(error, "UNAVAILABLE")) throw error;
    this.#callsLostAt = Number.NEGATIVE_INFINITY;
    if (tookMs < PROMPT_MS && losesMarks(client.server) && (await this.#isThereNow(attach))) return;
    // If the queue has a consumer, another instance has replaced it already; then declaring it again is enough.
    await client.deleteQueue(queue, "unused").catch((cause: unknown) => {
      if (!isConfluoError(cause, "TOPOLOGY_CONFLICT")) throw cause;
    });
    await attach();
    this.#callsLostAt = undefined;
    this.#parts.connection.warn(
      { queue, err: error },
      `${queue} was not available; it was deleted and declared again.`,
    );
  }

  // Tries again at once, because another instance may have been replacing the queue at that moment.
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
