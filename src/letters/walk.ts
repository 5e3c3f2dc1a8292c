/**
 * Looking through a queue without taking anything out: what is looked at is held unacknowledged, and goes back, in its
 * order, when the consumers that hold it are closed. Single messages are not requeued, since RabbitMQ counts that in
 * one version and loops for ever in another.
 */

import { ConfluoError } from "../errors.ts";
import type { Consumer, Wire, WireDelivery } from "../transport/wire.ts";
import { onAbort, untilAborted, withinMs } from "../waiting/abort.ts";

/** RabbitMQ's cap on what one consumer of a quorum queue may hold. */
export const MOST_PER_CONSUMER = 2_000;
/** The most that one walk holds. */
export const MOST_HELD = 20_000;

const IDLE_MS = 500;
const RETURN_MS = 1_000;
const END_MS = 3_000;
const LONGEST_PAUSE_MS = 50;

/** `stays`: it goes back in the end. `enough`: so does it, and no other is looked at. A promise: it leaves when that resolves. */
export type Verdict = "stays" | "enough" | Promise<void>;

/** What to look at, and what to do. */
export interface WalkPlan {
  readonly queue: string;
  /** How many the first consumer may hold: what may be under way at a time. */
  readonly prefetch: number;
  /** Decides on one delivery. What it throws, or its promise rejects with, ends the walk. */
  visit(delivery: WireDelivery): Verdict;
}

/**
 * Looks at the messages of a queue, the oldest first: at no more than there are at the beginning, so that what comes
 * meanwhile cannot keep it going. Whoever else holds some of them is not waited for. No queue is an empty one.
 *
 * @throws what `visit` throws, or the signal's reason; what had not left by then is back in the queue.
 */
export async function walk(wire: Wire, plan: WalkPlan, signal: AbortSignal): Promise<void> {
  const ready = (await untilAborted(wire.inspectQueue(plan.queue), signal))?.messages ?? 0;
  if (ready === 0) return;
  const going = new Walk(wire, plan, ready);
  try {
    await going.run(signal);
  } finally {
    // A broker that does not answer must not hold its end.
    await withinMs(END_MS, going.end(), () => undefined).catch(() => undefined);
  }
}

/** One consumer's share. */
interface Share {
  consumer: Consumer | undefined;
  /** Delivered and not acknowledged. */
  held: number;
  /** Of these, those that stay. */
  kept: number;
}

class Walk {
  readonly #wire: Wire;
  readonly #plan: WalkPlan;
  readonly #bound: number;
  readonly #shares: Share[] = [];
  readonly #leaving = new Set<Promise<void>>();
  #seen = 0;
  #kept = 0;
  #over = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: () => void = () => undefined;

  constructor(wire: Wire, plan: WalkPlan, bound: number) {
    this.#wire = wire;
    this.#plan = plan;
    this.#bound = bound;
  }

  async run(signal: AbortSignal): Promise<void> {
    let prefetch = this.#plan.prefetch;
    while (await this.#share(Math.min(prefetch, this.#bound - this.#seen), signal)) {
      if (this.#kept >= MOST_HELD) break;
      prefetch = Math.min(MOST_PER_CONSUMER, MOST_HELD - this.#kept);
    }
    while (this.#leaving.size > 0) {
      signal.throwIfAborted();
      await this.#change(signal, undefined);
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** All that is held goes back, one consumer's share after the other, so that the order stays. */
  async end(): Promise<void> {
    this.#over = true;
    // Confirmed ones are acknowledged while they still can be.
    await withinMs(RETURN_MS, Promise.all(this.#leaving), () => undefined).catch(() => undefined);
    // First of all, or the next would be given what the one before gives back.
    await Promise.all(this.#shares.map(({ consumer }) => consumer?.cancel()));
    const deadline = performance.now() + RETURN_MS;
    let back = 0;
    for (const { consumer, held } of this.#shares) {
      await consumer?.close();
      back += held;
      await this.#returned(back, deadline);
    }
  }

  // One consumer, until it is full of what stays. Resolves with whether there is more to look at.
  async #share(prefetch: number, signal: AbortSignal): Promise<boolean> {
    const { queue } = this.#plan;
    const share: Share = { consumer: undefined, held: 0, kept: 0 };
    this.#shares.push(share);
    const consuming = this.#wire.consume({
      queue,
      prefetch,
      onDelivery: (delivery) => this.#take(share, delivery),
      onCancelled: (reason) => this.#fail(reason),
    });
    // One that comes too late goes with its wire.
    share.consumer = await untilAborted(consuming, signal);
    for (;;) {
      signal.throwIfAborted();
      if (this.#over || this.#seen >= this.#bound) return false;
      if (share.kept >= prefetch) return true;
      if (await this.#change(signal, IDLE_MS)) continue;
      if (share.held >= prefetch) continue; // it has no room before some have left
      const { held } = share;
      const info = await untilAborted(this.#wire.inspectQueue(queue), signal);
      if (info === undefined) throw new ConfluoError("UNAVAILABLE", `The queue ${queue} was deleted.`);
      // What is ready will be delivered; what is neither ready nor here is with someone else.
      if (info.messages === 0 && share.held === held) return false;
    }
  }

  #take(share: Share, delivery: WireDelivery): void {
    share.held += 1;
    if (this.#over || this.#seen >= this.#bound) return;
    this.#seen += 1;
    let verdict: Verdict;
    try {
      verdict = this.#plan.visit(delivery);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (typeof verdict === "string") {
      share.kept += 1;
      this.#kept += 1;
      if (verdict === "enough") this.#over = true;
    } else this.#leave(share, delivery, verdict);
    this.#wake();
  }

  #leave(share: Share, delivery: WireDelivery, left: Promise<void>): void {
    const leaving = left.then(
      () => {
        delivery.ack();
        share.held -= 1;
      },
      (error: unknown) => this.#fail(error),
    );
    this.#leaving.add(leaving);
    void leaving.then(() => {
      this.#leaving.delete(leaving);
      this.#wake();
    });
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#over = true;
    this.#wake();
  }

  // Resolves with whether anything happened within a time.
  #change(signal: AbortSignal, withinMs: number | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (happened: boolean): void => {
        clearTimeout(timer);
        stopListening();
        this.#wake = () => undefined;
        resolve(happened);
      };
      const timer = withinMs === undefined ? undefined : setTimeout(() => end(false), withinMs);
      const stopListening = onAbort(signal, () => end(true));
      this.#wake = () => end(true);
    });
  }

  // A closed channel's messages go back a moment later: whoever looks next should find them.
  async #returned(count: number, deadline: number): Promise<void> {
    const { queue } = this.#plan;
    for (let pauseMs = 1; count > 0; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      const info = await this.#wire.inspectQueue(queue);
      if (info === undefined || info.messages >= count || performance.now() > deadline) return;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
