/** Where an instance is asked what it is and does. Whatever goes wrong here holds up nothing else. */

import { addressee, EVERYONE } from "../../protocol/discovery.ts";
import type { Message } from "../../protocol/message.ts";
import { type Namespace, QUESTIONS_ARGUMENTS } from "../../protocol/topology.ts";
import { withinMs } from "../../waiting/abort.ts";
import type { Consumer, Wire } from "../wire.ts";

/** What questions need of the link that they belong to. */
export interface QuestionsParts {
  readonly service: string;
  readonly instance: string;
  readonly namespace: Namespace;
  /** The wire at the moment; `undefined` while there is none. */
  readonly wire: () => Wire | undefined;
  onQuestion(question: Message): void;
  warn(details: object, message: string): void;
}

const CLOSE_MS = 400;
const AGAIN_MS = 8_000;

/** A queue of the instance's own, and its consumer. */
export class Questions {
  readonly #parts: QuestionsParts;
  #wanted = false;
  #closed = false;
  #warned = false;
  #opening: Promise<void> | undefined;
  #consumer: Consumer | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor(parts: QuestionsParts) {
    this.#parts = parts;
  }

  /** Takes questions from now on, on this wire and the next ones. Never rejects: without it all else works. */
  open(): Promise<void> {
    this.#wanted = true;
    return this.restore();
  }

  /** Takes questions again, if they were asked for. */
  restore(): Promise<void> {
    const wire = this.#parts.wire();
    if (!this.#wanted || this.#closed || wire === undefined || this.#consumer !== undefined)
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

  /** The wire is gone. */
  forget(): void {
    this.#consumer = undefined;
    this.#opening = undefined;
    clearTimeout(this.#again);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#again);
    const consumer = this.#consumer;
    this.#consumer = undefined;
    // A broker that does not answer must not hold a shutdown.
    if (consumer !== undefined)
      await withinMs(CLOSE_MS, consumer.close(), () => undefined).catch(() => undefined);
  }

  async #attach(wire: Wire): Promise<void> {
    const { service, instance, namespace, onQuestion } = this.#parts;
    const queue = await wire.declareQueue({ name: "", exclusive: true, arguments: QUESTIONS_ARGUMENTS });
    try {
      const keys = [EVERYONE, addressee(service), addressee(service, instance)];
      await Promise.all(keys.map((key) => wire.bind(queue, namespace.discovery, key)));
      await this.#consume(wire, queue, onQuestion);
    } catch (error) {
      // Only its consumer's end would delete it before the connection ends, and each try has another.
      await wire.deleteQueue(queue).catch(() => undefined);
      throw error;
    }
  }

  async #consume(wire: Wire, queue: string, onQuestion: QuestionsParts["onQuestion"]): Promise<void> {
    const consumer = await wire.consume({
      queue,
      prefetch: "no-ack",
      onDelivery: ({ message }) => onQuestion(message),
      onCancelled: () => {
        if (this.#consumer !== consumer) return;
        this.#consumer = undefined;
        this.#tryAgain();
      },
    });
    if (this.#closed || this.#parts.wire() !== wire) await consumer.close();
    else this.#consumer = consumer;
  }

  #failed(wire: Wire, error: unknown): void {
    if (this.#closed || this.#parts.wire() !== wire) return; // the next wire is another try
    const { service, warn } = this.#parts;
    if (!this.#warned) warn({ err: error }, `${service} cannot be asked what it does; all else works.`);
    this.#warned = true;
    this.#tryAgain();
  }

  #tryAgain(): void {
    if (this.#closed) return;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => void this.restore(), AGAIN_MS);
    this.#again.unref();
  }
}
