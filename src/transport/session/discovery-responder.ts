/** Where an instance is asked what it is and does. Whatever goes wrong here holds up nothing else. */

import { withinMs } from "../../async/abort.ts";
import { addressee, EVERYONE } from "../../protocol/discovery/instance-answer.ts";
import type { Message } from "../../protocol/message.ts";
import { type Namespace, QUESTIONS_ARGUMENTS } from "../../protocol/topology.ts";
import { ExclusiveQueue } from "../queues/exclusive-queue.ts";
import type { AmqpClient } from "../wire.ts";

/** What questions need of the link that they belong to. */
export interface DiscoveryResponderDependencies {
  readonly service: string;
  readonly instance: string;
  readonly namespace: Namespace;
  /** The wire at the moment; `undefined` while there is none. */
  readonly wire: () => AmqpClient | undefined;
  onQuestion(question: Message): void;
  warn(details: object, message: string): void;
}

const CLOSE_MS = 400;
const SOON_MS = 250;
const AGAIN_MS = 8_000;

/** A queue of the instance's own, and its consumer. */
export class DiscoveryResponder {
  readonly #parts: DiscoveryResponderDependencies;
  readonly #queue: ExclusiveQueue;
  #wanted = false;
  #closed = false;
  #warned = false;
  #opening: Promise<void> | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor(parts: DiscoveryResponderDependencies) {
    this.#parts = parts;
    const { service, namespace, warn } = parts;
    this.#queue = new ExclusiveQueue({
      purpose: `the questions to an instance of ${service}`,
      arguments: QUESTIONS_ARGUMENTS,
      prefetch: "no-ack",
      exchange: namespace.discovery,
      isStanding: (wire) => !this.#closed && parts.wire() === wire,
      onDelivery: ({ message }) => parts.onQuestion(message),
      onGone: () => this.#tryAgain(SOON_MS),
      warn,
    });
  }

  /** Takes questions from now on, on this wire and the next ones. Never rejects: without it all else works. */
  open(): Promise<void> {
    this.#wanted = true;
    return this.restore();
  }

  /** Takes questions again, if they were asked for. */
  restore(): Promise<void> {
    const wire = this.#parts.wire();
    if (!this.#wanted || this.#closed || wire === undefined || this.#queue.isConsumed)
      return Promise.resolve();
    if (this.#opening !== undefined) return this.#opening;
    const opening = this.#attach(wire)
      .catch((error: unknown) => this.#failed(wire, error))
      .finally(() => {
        // After `forget` there may be another by now.
        if (this.#opening === opening) this.#opening = undefined;
      });
    this.#opening = opening;
    return opening;
  }

  /** Has the queue looked for before its time. */
  lookSoon(): void {
    this.#queue.lookSoon();
  }

  /** The wire is gone. */
  forget(): void {
    this.#queue.forget();
    this.#opening = undefined;
    clearTimeout(this.#again);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#again);
    // A broker that does not answer must not hold a shutdown.
    await withinMs(CLOSE_MS, this.#queue.close(), () => undefined).catch(() => undefined);
  }

  async #attach(wire: AmqpClient): Promise<void> {
    const { service, instance } = this.#parts;
    await this.#queue.attach(wire, [EVERYONE, addressee(service), addressee(service, instance)]);
  }

  #failed(wire: AmqpClient, error: unknown): void {
    if (this.#closed || this.#parts.wire() !== wire) return; // the next wire is another try
    const { service, warn } = this.#parts;
    if (!this.#warned) warn({ err: error }, `${service} cannot be asked what it does; all else works.`);
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
