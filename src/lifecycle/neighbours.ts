/** The connected services of this process. Those that are shut down at the same time leave together. */

import { runOutsideContext } from "../async/outside-context.ts";
import type { Dispatcher } from "../handling/dispatcher.ts";
import { bodyLength } from "../protocol/codec.ts";
import { type Envelope, readEnvelope } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import type { Outcome } from "../retry/outcome.ts";
import type { Caller, PendingCall } from "../sending/caller.ts";
import type { Publisher } from "../sending/publisher.ts";
import type { Delivery, Session } from "../transport/transport.ts";

/** The parts that a {@link Neighbour} works with. */
export interface NeighbourDependencies {
  readonly service: string;
  /** The broker and namespace. Services can call each other only if these are the same. */
  readonly realm: string;
  /** The lifecycle of the service, which knows if the service takes calls at all. */
  readonly lifecycle: { readonly serves: boolean };
  readonly dispatcher: Dispatcher;
  readonly caller: Caller;
  readonly publisher: Publisher;
}

const here = new Set<Neighbour>();
let leaving = 0;

/**
 * A service of this process, as long as it has a session. While it is being shut down, it takes nothing more from outside but
 * still answers the calls of other services that are being shut down, until none of them has anything in hand.
 */
export class Neighbour {
  readonly #parts: NeighbourDependencies;
  #isLeaving = false;
  /** True if the service takes nothing more from outside, or has no session any more. */
  #isClosed = false;
  readonly #whenClosed: (() => void)[] = [];

  constructor(parts: NeighbourDependencies) {
    this.#parts = parts;
    here.add(this);
    if (leaving > 0) parts.caller.neighbours = this;
  }

  /** Stops taking messages, and resolves when neither this service nor another that is being shut down has anything in hand. */
  async leave(session: Session): Promise<void> {
    const { dispatcher } = this.#parts;
    if (!here.has(this)) return;
    this.#isLeaving = true;
    leaving += 1;
    for (const each of here) each.#parts.caller.neighbours = each;
    dispatcher.leaves();
    // Meanwhile, other services that are shut down in the same turn begin to leave, too.
    await new Promise((resolve) => setImmediate(resolve));
    let coming = this.#coming();
    // These calls are in the queue, or on the way to it, among the calls of others. So calls are consumed until all of them
    // have ended.
    if (coming.length > 0) await session.pause("calls");
    for (; coming.length > 0 && here.has(this); coming = this.#coming()) await Promise.all(coming.map(ended));
    await session.pause();
    // The wait may have been given up. Then the deliveries in hand belong to another connection.
    if (!here.has(this)) return;
    this.#close();
    await dispatcher.drained();
    await untilAllAreIdle();
  }

  /** Removes the service, because it has no session any more. */
  end(): void {
    if (!here.delete(this)) return;
    this.#parts.caller.neighbours = undefined;
    if (this.#isLeaving) leaving -= 1;
    if (leaving === 0) for (const each of here) each.#parts.caller.neighbours = undefined;
    this.#close();
  }

  /**
   * Delivers a call within the process if its service and the calling service are shut down together: nobody here consumes the
   * service's queue any more. Returns whether it did so.
   */
  handOver(call: PendingCall, message: Message, session: Session): boolean {
    if (!this.#isLeaving && call.scope?.isLeaving !== true) return false;
    const { realm } = this.#parts;
    const taker = [...here].find((each) => each.#isLeaving && each.#takes(call.service, realm));
    if (taker === undefined) return false;
    call.isNear = true;
    const again = (): void => {
      call.isNear = false;
      if (!call.over) session.call(call.service, message, (rejection, why) => call.settle(rejection, why));
    };
    // Outside of the context and in a later turn, so that the called handler does not run inside the calling one.
    runOutsideContext(setImmediate, () => taker.#parts.dispatcher.handle(new NearDelivery(message, again)));
    return true;
  }

  #takes(service: string, realm: string): boolean {
    return this.#parts.service === service && this.#parts.realm === realm && this.#parts.lifecycle.serves;
  }

  // Returns the calls to this service that travel through the broker, that a service which is being shut down waits for, and
  // that have not begun here. They are all calls of such a service, and calls of handlers that run for one.
  #coming(): readonly PendingCall[] {
    const { service, realm } = this.#parts;
    const near = [...here].filter((each) => each.#parts.realm === realm);
    const takers = near.filter((each) => each.#takes(service, realm));
    const coming: PendingCall[] = [];
    for (const each of near) {
      const { inFlight } = each.#parts.caller;
      if (inFlight.size === 0) continue;
      for (const call of inFlight.list()) {
        const isLeft = each.#isLeaving || call.scope?.isLeaving === true;
        if (call.service !== service || call.isNear || !isLeft) continue;
        const id = inFlight.idOf(call);
        if (!takers.some((taker) => taker.#parts.dispatcher.runs(id))) coming.push(call);
      }
    }
    return coming;
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const resolve of this.#whenClosed.splice(0)) resolve();
  }

  /** True if nothing can begin in this service any more but calls of other services that are being shut down. */
  get isIdle(): boolean {
    if (!this.#isLeaving) return true;
    const { dispatcher, caller, publisher } = this.#parts;
    const isQuiet = caller.inFlight.size === 0 && publisher.inFlight.size === 0;
    return this.#isClosed && isQuiet && dispatcher.isIdle;
  }

  /** Resolves when the service has been idle or has no session any more. */
  async idle(): Promise<void> {
    const { dispatcher, caller, publisher } = this.#parts;
    if (!this.#isClosed) await new Promise<void>((resolve) => this.#whenClosed.push(resolve));
    await dispatcher.idle();
    await caller.inFlight.empty();
    await publisher.inFlight.empty();
  }
}

async function untilAllAreIdle(): Promise<void> {
  for (;;) {
    const busy = [...here].find((each) => !each.isIdle);
    if (busy === undefined) return;
    await busy.idle();
  }
}

function ended(call: PendingCall): Promise<void> {
  return new Promise((resolve) => call.onEnd(resolve));
}

/** A call that came from within the process. */
class NearDelivery implements Delivery {
  readonly lane = "calls";
  readonly history = "first";
  readonly redelivered = false;
  readonly isNear = true;
  /** `released`, because the broker does not know the delivery. */
  readonly hold = "released";
  readonly receivedAt: number = performance.now();
  readonly message: Message;
  readonly envelope: Envelope;
  readonly size: number;
  readonly #again: () => void;

  /** `again` sends the call through the broker, to any instance. */
  constructor(message: Message, again: () => void) {
    this.message = message;
    this.envelope = readEnvelope(message, { lane: "calls", eventKey: undefined, newId: () => "" });
    this.size = bodyLength(message);
    this.#again = again;
  }

  settle({ kind }: Outcome): boolean {
    if (kind === "release") this.#again();
    return true;
  }
}
