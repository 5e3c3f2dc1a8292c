import type { ConfluoError } from "../../errors.ts";
import type { Message } from "../../protocol/message.ts";
import type { AmqpDelivery, ConsumeOptions, Consumer, Hold } from "../amqp-client.ts";
import { Deque } from "./deque.ts";
import type { Queue, QueueConsumer, StoredLetter } from "./queue.ts";
import { withDeliveryCount } from "./received-message.ts";
import { surface, type TurnLoop, type TurnTask } from "./turn-loop.ts";

/**
 * The state of a consumer. `active`: takes letters. `cancelled`: takes none, but delivers those that it has. `ending`: the
 * queue is gone; the consumer delivers the letters that it has, then reports its end. `closed`: it has ended and holds no
 * letters.
 */
type State = "active" | "cancelled" | "ending" | "closed";

/** The parts that an {@link EmbeddedConsumer} works with. */
export interface ConsumerContext {
  readonly queue: Queue;
  readonly turns: TurnLoop;
  /** Is called when the consumer has ended and all its letters are settled. */
  readonly onDone: (consumer: EmbeddedConsumer) => void;
}

/** A consumer with the letters that its queue gave it: those to be delivered, and those that are unsettled. */
export class EmbeddedConsumer implements Consumer, QueueConsumer, TurnTask {
  readonly acknowledges: boolean;
  /** The name of the queue that it consumes. */
  readonly queue: string;
  scheduled = false;
  readonly #options: ConsumeOptions;
  readonly #context: ConsumerContext;
  readonly #least: number;
  #prefetch: number;
  readonly #outbox = new Deque<EmbeddedDelivery>();
  readonly #unacked = new Set<EmbeddedDelivery>();
  #state: State = "active";
  #endReason: ConfluoError | undefined;
  readonly #drainWaiters: (() => void)[] = [];

  constructor(options: ConsumeOptions, context: ConsumerContext) {
    const { queue, prefetch } = options;
    this.acknowledges = prefetch !== "no-ack";
    this.queue = queue;
    this.#options = options;
    this.#context = context;
    this.#least = prefetch === "no-ack" || prefetch === 0 ? Number.POSITIVE_INFINITY : prefetch;
    this.#prefetch = this.#least;
  }

  allow(deliveries: number): void {
    const wasFull = this.#unacked.size >= this.#prefetch;
    this.#prefetch = Math.max(this.#least, deliveries);
    const isFull = this.#unacked.size >= this.#prefetch;
    if (this.#state !== "active" || wasFull === isFull) return;
    if (isFull) this.#context.queue.pause(this);
    else this.#context.queue.resume(this);
  }

  async cancel(): Promise<void> {
    if (this.#state === "active") {
      this.#state = "cancelled";
      this.#context.queue.remove(this);
      this.#checkDone();
    }
    // Also if the queue was deleted meanwhile: letters that the queue gave before are still delivered.
    if (this.#state !== "closed" && this.#outbox.length > 0) {
      await new Promise<void>((resolve) => this.#drainWaiters.push(resolve));
    }
  }

  async close(): Promise<void> {
    this.release();
  }

  /** Ends at once, and returns all unsettled letters to the queue, delivered or not. */
  release(): void {
    if (this.#state === "closed") return;
    const letters = Array.from(this.#unacked, (delivery) => delivery.letter);
    this.#state = "closed";
    this.#unacked.clear();
    this.#outbox.clear();
    const { queue } = this.#context;
    queue.remove(this);
    if (letters.length > 0) queue.giveBack(letters);
    this.#checkDone();
    this.#wakeWaiters();
  }

  take(letter: StoredLetter): boolean {
    const delivery = new EmbeddedDelivery(letter, this, receivedMessage(letter, this.#context.queue));
    if (this.acknowledges) this.#unacked.add(delivery);
    this.#outbox.push(delivery);
    this.#context.turns.schedule(this);
    return this.#unacked.size < this.#prefetch;
  }

  end(reason: ConfluoError): void {
    this.#state = "ending";
    this.#endReason = reason;
    this.#unacked.clear();
    this.#context.turns.schedule(this);
  }

  run(limit: number): boolean {
    const { onDelivery } = this.#options;
    for (let left = limit; left > 0; left -= 1) {
      const delivery = this.#outbox.shift();
      if (delivery === undefined) break;
      try {
        onDelivery(delivery);
      } catch (error) {
        surface(error);
      }
    }
    if (this.#outbox.length > 0) return true;
    this.#wakeWaiters();
    this.#sayEnd();
    this.#checkDone();
    return false;
  }

  holds(delivery: EmbeddedDelivery): boolean {
    return this.#unacked.has(delivery);
  }

  /** Acknowledges a delivery. Returns whether the queue has accepted that. */
  ack(delivery: EmbeddedDelivery): boolean {
    const wasFull = this.#unacked.size === this.#prefetch;
    if (!this.#unacked.delete(delivery)) return false;
    this.#context.queue.settle();
    this.#afterSettling(wasFull);
    return true;
  }

  requeue(delivery: EmbeddedDelivery): void {
    const wasFull = this.#unacked.size === this.#prefetch;
    if (!this.#unacked.delete(delivery)) return;
    this.#context.queue.giveBack([delivery.letter]);
    this.#afterSettling(wasFull);
  }

  #afterSettling(wasFull: boolean): void {
    if (this.#state !== "active") this.#checkDone();
    else if (wasFull) this.#context.queue.resume(this);
  }

  #checkDone(): void {
    const isDrained = this.#state === "cancelled" && this.#unacked.size === 0 && this.#outbox.length === 0;
    if (isDrained || this.#state === "closed") this.#context.onDone(this);
  }

  #wakeWaiters(): void {
    for (const wake of this.#drainWaiters.splice(0)) wake();
  }

  #sayEnd(): void {
    const reason = this.#endReason;
    if (this.#state !== "ending" || reason === undefined) return;
    this.#state = "closed";
    try {
      this.#options.onCancelled(reason);
    } catch (error) {
      surface(error);
    }
  }
}

class EmbeddedDelivery implements AmqpDelivery {
  readonly message: Message;
  readonly queue: string;
  readonly exchange: string;
  readonly key: string;
  readonly redelivered: boolean;
  readonly letter: StoredLetter;
  readonly #consumer: EmbeddedConsumer;
  #released: boolean;

  constructor(letter: StoredLetter, consumer: EmbeddedConsumer, message: Message) {
    this.message = message;
    this.queue = consumer.queue;
    this.exchange = letter.exchange;
    this.key = letter.key;
    this.redelivered = letter.redelivered;
    this.letter = letter;
    this.#consumer = consumer;
    this.#released = !consumer.acknowledges;
  }

  get hold(): Hold {
    if (this.#released) return "released";
    return this.#consumer.holds(this) ? "held" : "lost";
  }

  ack(): void {
    if (this.#consumer.ack(this)) this.#released = true;
  }

  requeue(): void {
    this.#consumer.requeue(this);
  }
}

function receivedMessage(letter: StoredLetter, queue: Queue): Message {
  if (letter.returns === 0 || queue.settings.type === "classic") return letter.message;
  return withDeliveryCount(letter.message, letter.returns);
}
