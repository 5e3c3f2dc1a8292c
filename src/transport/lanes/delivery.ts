/** One delivery of a lane, settled once. */

import { ConfluoError, show } from "../../errors.ts";
import { header, protocolHeader } from "../../protocol/codec.ts";
import type { Message, WireHeaders } from "../../protocol/message.ts";
import { type Origin, originOf } from "../../protocol/origin.ts";
import { republished, republishedCall } from "../../protocol/republish.ts";
import type { Namespace } from "../../protocol/topology.ts";
import { firstHop, type Hop } from "../../retry/delay-levels.ts";
import { type Move, type Outcome, storyOf } from "../../retry/outcome.ts";
import type { Delivery, DeliveryRecord, Lane } from "../transport.ts";
import type { Wire, WireDelivery } from "../wire.ts";
import type { UnderWay } from "./under-way.ts";

const FIRST_AGAIN_MS = 1_000;
const LAST_AGAIN_MS = 8_000;
/** RabbitMQ refuses an expiration of twice as much and more. */
const LONGEST_MS = 2 ** 31 - 1;

/** What a delivery needs of the link that it came over. */
export interface DeliverySurroundings {
  readonly instance: string;
  readonly namespace: Namespace;
  readonly dead: string;
  /** The wire at the moment; `undefined` while there is none, and once the link is closed. */
  readonly wire: Wire | undefined;
  queueOf(source: Source): string;
  /** Declares anew where moved messages go, which someone may have deleted. */
  declareMoves(): Promise<void>;
  /** Copies that the broker has not confirmed: the originals must not go back before it has. */
  readonly copies: UnderWay;
  newId(): string;
  warn(details: object, message: string): void;
}

/** Which queue of a service's a delivery came from: a lane's own, or the one for what is tried again alone. */
export interface Source {
  readonly lane: Lane;
  readonly alone: boolean;
}

/** {@link Delivery} over a wire's delivery. */
export class LaneDelivery implements Delivery {
  readonly lane: Lane;
  readonly message: Message;
  readonly origin: Origin;
  readonly record: DeliveryRecord;
  readonly redelivered: boolean;
  readonly #source: Source;
  readonly #wired: WireDelivery;
  readonly #link: DeliverySurroundings;
  /** That it came over: on a later one it cannot be settled, and its broker delivers it again. */
  readonly #wire: Wire | undefined;
  /** Since when it is held here, on the monotonic clock; 0 if it may live for ever. */
  readonly #since: number;
  #settled = false;

  constructor(source: Source, wired: WireDelivery, link: DeliverySurroundings) {
    const { lane } = source;
    this.lane = lane;
    this.#source = source;
    this.record = recordOf(source, wired.redelivered && !wasOnlyLookedAt(wired.message.properties.headers));
    const wasGivenBack = protocolHeader(wired.message.properties.headers, header.givenBack) !== undefined;
    this.redelivered = this.record !== "fresh" || wasGivenBack;
    this.message = wired.message;
    this.#wired = wired;
    this.#link = link;
    this.#wire = link.wire;
    // The default exchange, and the way back from a delay, deliver by the queue's name: then the headers tell.
    const isReturn = wired.exchange === "" || wired.exchange === link.namespace.back;
    const eventKey = isReturn ? undefined : wired.key;
    this.origin = originOf(wired.message, { lane, eventKey, newId: link.newId });
    this.#since = this.origin.expiresMs === undefined ? 0 : performance.now();
  }

  settle(outcome: Outcome): boolean | Promise<boolean> {
    if (this.#settled) return false;
    this.#settled = true;
    switch (outcome.kind) {
      case "done":
        this.#wired.ack();
        return true;
      case "give-back":
        // Its queue is gone with its consumer, and nobody else has one.
        if (this.lane === "instance") return true;
        // As a copy: what the broker itself delivers again looks like what a death left behind.
        return this.#move(this.#givenBack());
      case "isolate": {
        const { subscriptions, deaths } = outcome;
        if (this.#wired.bounce !== undefined) return this.#bounce(this.#wired.bounce(), deaths);
        if (subscriptions.length === 0) return this.#move(this.#isolated(deaths, undefined));
        return this.#move(subscriptions.flatMap((subscription) => this.#isolated(deaths, subscription)));
      }
      case "move": {
        // The queue's name is taken now: a later connection may have another.
        const queue = this.#link.queueOf(this.#source);
        return this.#move(outcome.moves.map((move) => this.#moved(move, queue)));
      }
      default:
        return outcome satisfies never;
    }
  }

  // Its sender knows whether it still waits. If it cannot be told, the call goes on without being asked for.
  async #bounce(bouncing: Promise<boolean>, deaths: number): Promise<boolean> {
    if (!(await bouncing)) return this.#move(this.#isolated(deaths, undefined));
    this.#wired.ack();
    return true;
  }

  /** Sends a message that has not waited long enough on to its next delay queue. Like {@link settle}, never rejects. */
  async waitOn(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    const hop = firstHop(this.origin.waitMs);
    const { unclaimedMs, expiresMs } = this.origin;
    const headers = { ...waitHeaders({ hop, unclaimedMs, expiresMs }), ...this.#deaths };
    await this.#move([this.#delayed(hop, this.#unchanged(headers))]);
  }

  // The message as it is, with the story so far.
  #unchanged(added: Readonly<Record<string, string>>): Message {
    const { subscription } = this.origin;
    const story = storyHeaders.map((name) => [name, protocolHeader(this.#headers, name)] as const);
    return republished(this.message, this.origin, {
      ...(subscription === undefined ? {} : { [header.subscription]: subscription }),
      ...Object.fromEntries(story.filter(([, value]) => value !== undefined)),
      ...added,
    });
  }

  #isolated(deaths: number, subscription: string | undefined): readonly Moved[] {
    return this.#copied({ lane: this.lane, alone: true }, { deaths, subscription });
  }

  #givenBack(): readonly Moved[] {
    const { deaths, subscription } = this.origin;
    return this.#copied(this.#source, { deaths, subscription, isGivenBack: true });
  }

  // Into a queue of the same lane, as it is and with what it has been through. A call whose time is over is dropped, as its
  // broker drops it; anything else is dead then.
  #copied(source: Source, { deaths, subscription, isGivenBack }: Copying): readonly Moved[] {
    const key = this.#link.queueOf(source);
    const leftMs = this.#leftMs;
    const isOver = leftMs !== undefined && leftMs < 1;
    if (isOver && this.lane === "calls") return [];
    if (isOver) return [this.#expired(subscription)];
    const { unclaimedMs } = this.origin;
    const message =
      this.lane === "calls"
        ? republishedCall(this.message, this.origin)
        : this.#unchanged({
            ...(subscription === undefined ? {} : { [header.subscription]: subscription }),
            ...(deaths === 0 ? {} : { [header.deaths]: String(deaths) }),
            ...(unclaimedMs === 0 ? {} : { [header.unclaimed]: String(unclaimedMs) }),
          });
    const { body, properties } = message;
    const expiration = leftMs === undefined ? {} : { expiration: String(leftMs) };
    const headers = isGivenBack ? { headers: { ...properties.headers, [header.givenBack]: "1" } } : {};
    return [
      { exchange: "", key, message: { body, properties: { ...properties, ...expiration, ...headers } } },
    ];
  }

  /** What is left of the time that it may live; how long it lay in queues is known to nobody. */
  get #leftMs(): number | undefined {
    const { expiresMs } = this.origin;
    if (expiresMs === undefined) return undefined;
    return Math.min(Math.floor(expiresMs - (performance.now() - this.#since)), LONGEST_MS);
  }

  #expired(subscription: string | undefined): Moved {
    const { path, expiresMs } = this.origin;
    const message = `The ${expiresMs} ms in which ${show(path)} had to be handled passed while an instance had it.`;
    const failure = { error: new ConfluoError("TIMEOUT", message), retry: "final" } as const;
    const move = {
      kind: "dead-letter",
      failure: subscription === undefined ? failure : { ...failure, subscription },
    } as const;
    return this.#moved(move, this.#link.queueOf(this.#source));
  }

  get #headers(): WireHeaders | undefined {
    return this.message.properties.headers;
  }

  get #standing(): boolean {
    return this.#wire !== undefined && this.#link.wire === this.#wire;
  }

  // Until it is done, or the wire is gone: giving it back would have the handler run again, or look like a death.
  async #move(moved: readonly Moved[]): Promise<boolean> {
    let left = moved;
    for (let waitMs = FIRST_AGAIN_MS; this.#standing; waitMs = Math.min(2 * waitMs, LAST_AGAIN_MS)) {
      const done = this.#link.copies.begin();
      const posted = await Promise.allSettled(left.map((each) => this.#post(each)));
      const isMoved = posted.every(({ status }) => status === "fulfilled");
      // Also when the link is being closed: it waits for that, or the broker would return the original beside its copy.
      if (isMoved) this.#wired.ack();
      done();
      if (isMoved) return true;
      if (!this.#standing) return false;
      left = left.filter((_, n) => posted[n]?.status === "rejected");
      const err = posted.find((result) => result.status === "rejected")?.reason;
      // Once, not once for each attempt.
      if (waitMs === FIRST_AGAIN_MS) {
        const where = left.map(({ exchange, key }) => exchange || key).join(", ");
        this.#link.warn({ err }, `A message did not reach ${where}; it is kept and tried again.`);
      }
      await new Promise((resolve) => setTimeout(resolve, waitMs).unref());
    }
    return false;
  }

  async #post(moved: Moved): Promise<void> {
    if ((await this.#publish(moved)) === undefined) return;
    if (!this.#standing) throw new Error("the connection broke");
    await this.#link.declareMoves();
    const rejection = await this.#publish(moved);
    if (rejection !== undefined) throw new Error(`the copy was ${rejection}`);
  }

  #publish({ exchange, key, message }: Moved): Promise<string | undefined> {
    return new Promise((resolve) => {
      if (this.#wire === undefined || !this.#standing) resolve("lost");
      else this.#wire.publish({ exchange, key }, message, resolve);
    });
  }

  #moved(move: Move, queue: string): Moved {
    const { attempt } = this.origin;
    switch (move.kind) {
      case "dead-letter":
        return { exchange: "", key: this.#link.dead, message: this.#copy(move, queue, attempt, {}) };
      case "retry":
        return this.#delayed(
          move.hop,
          this.#copy(move, queue, attempt + 1, waitHeaders({ ...move, unclaimedMs: 0 })),
        );
      case "go-round":
        return this.#delayed(
          move.hop,
          this.#copy(move, queue, attempt, { ...waitHeaders(move), ...this.#deaths }),
        );
      default:
        return move satisfies never;
    }
  }

  get #deaths(): Readonly<Record<string, string>> {
    const { deaths } = this.origin;
    return deaths === 0 ? {} : { [header.deaths]: String(deaths) };
  }

  // What is tried alone comes back to be tried alone.
  #delayed({ levelMs }: Hop, message: Message): Moved {
    const key = this.#link.queueOf({ lane: "inbox", alone: this.#source.alone });
    return { exchange: this.#link.namespace.delay(levelMs), key, message };
  }

  #copy({ failure }: Move, queue: string, attempt: number, added: Readonly<Record<string, string>>): Message {
    const { name, code, message, stack } = storyOf(failure.error);
    const now = new Date().toISOString();
    return republished(
      this.message,
      { ...this.origin, attempt },
      {
        ...added,
        ...(failure.subscription === undefined ? {} : { [header.subscription]: failure.subscription }),
        [header.error]: code,
        [header.errorName]: name,
        [header.errorMessage]: message,
        [header.errorStack]: stack,
        [header.firstFailedAt]: protocolHeader(this.#headers, header.firstFailedAt) ?? now,
        [header.failedAt]: now,
        [header.queue]: queue,
        [header.instance]: this.#link.instance,
      },
    );
  }
}

// From RabbitMQ 4.3 on, a quorum queue counts apart how often a message was given to somebody, and how often that one was lost
// with it. Older brokers count both as one: there a look passes for a death.
function wasOnlyLookedAt(headers: WireHeaders | undefined): boolean {
  return headers?.["x-acquired-count"] !== undefined && headers["x-delivery-count"] === undefined;
}

// An instance's own copies are gone with it: what comes again was given back.
function recordOf({ lane, alone }: Source, redelivered: boolean): DeliveryRecord {
  if (lane === "instance") return "fresh";
  if (alone) return redelivered ? "fatal" : "alone";
  return redelivered ? "suspect" : "fresh";
}

/** How a copy differs from its original. */
interface Copying {
  readonly deaths: number;
  readonly subscription: string | undefined;
  readonly isGivenBack?: true;
}

/** A copy of a message, and where it goes. */
interface Moved {
  readonly exchange: string;
  readonly key: string;
  readonly message: Message;
}

const storyHeaders = [
  header.error,
  header.errorName,
  header.errorMessage,
  header.errorStack,
  header.firstFailedAt,
  header.failedAt,
  header.queue,
  header.instance,
];

interface Wait {
  readonly hop: Hop;
  readonly unclaimedMs: number;
  readonly expiresMs: number | undefined;
}

function waitHeaders({ hop, unclaimedMs, expiresMs }: Wait): Readonly<Record<string, string>> {
  return {
    ...(hop.restMs === 0 ? {} : { [header.wait]: String(hop.restMs) }),
    ...(unclaimedMs === 0 ? {} : { [header.unclaimed]: String(unclaimedMs) }),
    ...(expiresMs === undefined ? {} : { [header.expires]: String(expiresMs) }),
  };
}
