/** Answers discovery questions to an instance. A failure here affects nothing else. */

import { addressee, EVERYONE } from "../../protocol/discovery/instance-answer.ts";
import type { Message } from "../../protocol/message.ts";
import { QUESTIONS_ARGUMENTS } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import type { Consumers } from "../queues/consumers.ts";
import { ExclusiveQueue } from "../queues/exclusive-queue.ts";
import type { SessionListener } from "../transport.ts";
import type { SessionConnection } from "./connection-slot.ts";

/** How long after its queue is gone the responder declares it again, in milliseconds. */
const SOON_MS = 250;
/** How long after a failed attempt the responder tries again, in milliseconds. */
const AGAIN_MS = 8_000;

/** The consumer of an instance's own queue for questions. */
export class DiscoveryResponder {
  readonly #connection: SessionConnection;
  readonly #member: SessionListener;
  readonly #queue: ExclusiveQueue;
  #wanted = false;
  #closed = false;
  #warned = false;
  #opening: Promise<void> | undefined;
  #again: NodeJS.Timeout | undefined;

  /** @param consumers the consumers of the service; closing or forgetting them closes or forgets this one, too. */
  constructor(connection: SessionConnection, member: SessionListener, consumers: Consumers) {
    this.#connection = connection;
    this.#member = member;
    const isStanding = (client: AmqpClient): boolean => !this.#closed && connection.client === client;
    this.#queue = new ExclusiveQueue({
      place: "discovery",
      purpose: `the questions to an instance of ${member.service}`,
      arguments: QUESTIONS_ARGUMENTS,
      prefetch: "no-ack",
      exchange: connection.namespace.discovery,
      consumers,
      isStanding,
      onDelivery: ({ message }) => this.#answer(message),
      onGone: () => this.#tryAgain(SOON_MS),
      warn: connection.warn,
    });
  }

  /**
   * Takes questions from now on, on this connection and the next ones. Never rejects, because everything else works without it.
   */
  open(): Promise<void> {
    this.#wanted = true;
    return this.restore();
  }

  /** Takes questions again, if {@link open} was called. */
  restore(): Promise<void> {
    const { client } = this.#connection;
    if (!this.#wanted || this.#closed || client === undefined || this.#queue.isConsumed)
      return Promise.resolve();
    if (this.#opening !== undefined) return this.#opening;
    const opening = this.#attach(client)
      .catch((error: unknown) => this.#failed(client, error))
      .finally(() => {
        // After `forget`, this may be another attempt.
        if (this.#opening === opening) this.#opening = undefined;
      });
    this.#opening = opening;
    return opening;
  }

  /** Checks soon whether the queue still exists. */
  lookSoon(): void {
    this.#queue.lookSoon();
  }

  /** Forgets the queue, because the connection is gone. */
  forget(): void {
    this.#queue.forget();
    this.#opening = undefined;
    clearTimeout(this.#again);
  }

  /** Stops taking questions. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#queue.forget();
  }

  #answer(question: Message): void {
    const { client } = this.#connection;
    // While the broker accepts nothing, answers would pile up here. A question is dropped, because its sender does not wait
    // long.
    if (client === undefined || client.congestion !== undefined) return;
    const answer = this.#member.onQuestion?.(question);
    if (answer !== undefined) client.post(answer.to, answer.message);
  }

  async #attach(client: AmqpClient): Promise<void> {
    const { service, instance } = this.#member;
    await this.#queue.attach(client, [EVERYONE, addressee(service), addressee(service, instance)]);
  }

  #failed(client: AmqpClient, error: unknown): void {
    if (this.#closed || this.#connection.client !== client) return; // tried again on the next connection
    const { service } = this.#member;
    if (!this.#warned)
      this.#connection.warn(
        { err: error },
        `${service} does not answer discovery at the moment; everything else works.`,
      );
    this.#warned = true;
    this.#tryAgain(AGAIN_MS);
  }

  #tryAgain(afterMs: number): void {
    if (this.#closed) return;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => void this.restore(), afterMs);
    this.#again.unref();
  }
}
