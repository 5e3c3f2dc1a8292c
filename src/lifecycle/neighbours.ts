/** Services of this process that are connected. Those that are shut down at the same time leave together. */

import { Gate } from "../async/gate.ts";
import { runOutsideContext } from "../async/outside-context.ts";
import type { Dispatcher } from "../handling/dispatcher.ts";
import { bodyLength } from "../protocol/codec.ts";
import type { Envelope } from "../protocol/envelope.ts";
import { readEnvelope } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import type { Outcome } from "../retry/outcome.ts";
import type { PendingCall } from "../sending/pending-call.ts";
import type { Sender } from "../sending/sender.ts";
import type { Delivery, Session } from "../transport/transport.ts";

/** What a neighbour is made of. */
export interface NeighbourDependencies {
  readonly service: string;
  /** Services meet only where this is the same. */
  readonly realm: string;
  /** Whether it takes calls at all. */
  readonly serves: () => boolean;
  readonly dispatch: Dispatcher;
  readonly requests: Sender;
}

const here = new Set<Neighbour>();
let leaving = 0;

/**
 * A service of this process, from the moment it has a link until it has none. While it leaves, it takes nothing more from
 * outside, and still answers what others that leave call: until none of them has anything in hand.
 */
export class Neighbour {
  readonly #parts: NeighbourDependencies;
  #isLeaving = false;
  /** Opens when it takes nothing more from outside, or is gone. */
  readonly #closed = new Gate();
  #isClosed = false;

  constructor(parts: NeighbourDependencies) {
    this.#parts = parts;
    here.add(this);
  }

  /** Takes nothing more, and resolves when neither this service nor any other that leaves has anything in hand. */
  async leave(link: Session): Promise<void> {
    const { dispatch, requests } = this.#parts;
    this.#isLeaving = true;
    leaving += 1;
    dispatch.leaves();
    // Those that are shut down in the same turn leave, too, by then.
    await new Promise((resolve) => setImmediate(resolve));
    let coming = this.#coming();
    // They are in the queue or on the way there, among those of others: it has to be emptied as far as that.
    if (coming.length > 0) await link.pause("calls");
    for (; coming.length > 0 && here.has(this); coming = this.#coming()) await Promise.all(coming.map(ended));
    await link.pause();
    // The wait may have been given up: what is in hand by now is of another connection.
    if (!here.has(this)) return;
    this.#close();
    await dispatch.drained();
    await requests.idle();
    await untilAllAreIdle();
  }

  /** It has no link any more. */
  end(): void {
    if (!here.delete(this)) return;
    if (this.#isLeaving) leaving -= 1;
    this.#close();
  }

  /**
   * Hands a call over within the process, if its service and the one that makes it leave together: it would reach a queue
   * that nobody here consumes any more. @returns whether it does.
   */
  handOver(call: PendingCall, message: Message, link: Session): boolean {
    if (leaving === 0 || !(this.#isLeaving || call.scope?.isLeaving === true)) return false;
    const taker = [...here].find((each) => each.#isLeaving && each.#takes(call.service, this.#parts.realm));
    if (taker === undefined) return false;
    call.isNear = true;
    const again = (): void => {
      call.isNear = false;
      if (!call.over) link.call(call.service, message, (rejection) => call.settle(rejection));
    };
    // Outside: the handler that takes it does not run inside of the one that makes it.
    runOutsideContext(setImmediate, () => taker.#parts.dispatch.handle(new NearDelivery(message, again)));
    return true;
  }

  #takes(service: string, realm: string): boolean {
    return this.#parts.service === service && this.#parts.realm === realm && this.#parts.serves();
  }

  // Calls to this service that those who leave wait for, and that have not been begun here.
  #coming(): readonly PendingCall[] {
    const { service, realm } = this.#parts;
    const all = [...here];
    const takers = all.filter((each) => each.#takes(service, realm)).map((each) => each.#parts.dispatch);
    return all
      .filter((each) => each.#parts.realm === realm)
      .flatMap((each) => each.#parts.requests.callsTo(service, each.#isLeaving))
      .filter(({ id }) => !takers.some((dispatch) => dispatch.runs(id)))
      .map(({ call }) => call);
  }

  #close(): void {
    this.#isClosed = true;
    this.#closed.open();
  }

  /** Whether nothing can begin in it any more but what another service that leaves calls. */
  get isIdle(): boolean {
    const { dispatch, requests } = this.#parts;
    return !this.#isLeaving || (this.#isClosed && dispatch.isIdle && requests.isIdle);
  }

  /** Resolves when it has been idle, or is gone. */
  async idle(): Promise<void> {
    if (!this.#isClosed) await new Promise<void>((resolve) => void this.#closed.onOpen(resolve));
    await this.#parts.dispatch.idle();
    await this.#parts.requests.idle();
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

/** A call that comes from within the process. */
class NearDelivery implements Delivery {
  readonly lane = "calls";
  readonly history = "first";
  readonly redelivered = false;
  readonly isNear = true;
  /** No broker knows of it. */
  readonly hold = "released";
  readonly receivedAt: number = performance.now();
  readonly message: Message;
  readonly envelope: Envelope;
  readonly size: number;
  readonly #again: () => void;

  /** `again` sends it to whichever instance there is, by way of the broker. */
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
