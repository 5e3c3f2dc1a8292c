/** One delivery of a lane, settled once. */

import { header, protocolHeader } from "../../protocol/codec.ts";
import type { Message } from "../../protocol/message.ts";
import { type Origin, originOf } from "../../protocol/origin.ts";
import { republished } from "../../protocol/republish.ts";
import { type Failure, type Outcome, storyOf } from "../../retry/outcome.ts";
import type { Delivery, Lane } from "../transport.ts";
import type { Wire, WireDelivery } from "../wire.ts";

const GIVE_BACK_MS = 1_000;

/** What a delivery needs of the link that it came over. */
export interface DeliverySurroundings {
  /** Name of the exchange that delayed messages come back through. */
  readonly back: string;
  readonly instance: string;
  readonly deadQueue: string;
  readonly wire: Wire | undefined;
  queueOf(lane: Lane): string;
  /** Declares the dead-letter queue, which someone may have deleted. */
  declareDead(): Promise<void>;
  newId(): string;
  warn(details: object, message: string): void;
}

/** {@link Delivery} over a wire's delivery. */
export class LaneDelivery implements Delivery {
  readonly lane: Lane;
  readonly message: Message;
  readonly origin: Origin;
  readonly #wired: WireDelivery;
  readonly #link: DeliverySurroundings;
  #settled = false;

  constructor(lane: Lane, wired: WireDelivery, link: DeliverySurroundings) {
    this.lane = lane;
    this.message = wired.message;
    this.#wired = wired;
    this.#link = link;
    // The default exchange, and the way back from a delay, deliver by the queue's name: then the headers tell.
    const eventKey = wired.exchange === "" || wired.exchange === link.back ? undefined : wired.key;
    this.origin = originOf(wired.message, { lane, eventKey, newId: link.newId });
  }

  get redelivered(): boolean {
    return this.#wired.redelivered;
  }

  async settle(outcome: Outcome): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    switch (outcome.kind) {
      case "done":
        this.#wired.ack();
        return;
      case "give-back":
        this.#wired.requeue();
        return;
      case "dead-letter": {
        // The queue's name is taken now: a later connection may have another.
        const queue = this.#link.queueOf(this.lane);
        await this.#bury(outcome.failures, queue);
        return;
      }
      default:
        outcome satisfies never;
    }
  }

  async #bury(failures: readonly Failure[], queue: string): Promise<void> {
    try {
      await Promise.all(failures.map((failure) => this.#post(this.#letter(failure, queue))));
      this.#wired.ack();
    } catch (error) {
      const { deadQueue } = this.#link;
      this.#link.warn(
        { error, queue: deadQueue },
        `A dead letter did not reach ${deadQueue}; the message is kept and tried again.`,
      );
      setTimeout(() => this.#wired.requeue(), GIVE_BACK_MS).unref();
    }
  }

  async #post(letter: Message): Promise<void> {
    if ((await this.#publish(letter)) === undefined) return;
    await this.#link.declareDead();
    const rejection = await this.#publish(letter);
    if (rejection !== undefined) throw new Error(`the dead letter was ${rejection}`);
  }

  #publish(letter: Message): Promise<string | undefined> {
    const { wire, deadQueue } = this.#link;
    return new Promise((resolve) => {
      if (wire === undefined) resolve("lost");
      else wire.publish({ exchange: "", key: deadQueue }, letter, resolve);
    });
  }

  #letter({ error, subscription }: Failure, queue: string): Message {
    const { name, code, message, stack } = storyOf(error);
    const now = new Date().toISOString();
    const first = protocolHeader(this.message.properties.headers, header.firstFailedAt);
    return republished(this.message, this.origin, {
      ...(subscription === undefined ? {} : { [header.subscription]: subscription }),
      [header.error]: code,
      [header.errorName]: name,
      [header.errorMessage]: message,
      [header.errorStack]: stack,
      [header.firstFailedAt]: first ?? now,
      [header.failedAt]: now,
      [header.queue]: queue,
      [header.instance]: this.#link.instance,
    });
  }
}
