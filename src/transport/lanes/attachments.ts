/** What a service has at the broker: its queues, bindings and consumers, on whatever wire there is at the moment. */

import { isConfluoError } from "../../errors.ts";
import { INSTANCE_EVENTS_ARGUMENTS, type Namespace, REPLIES_ARGUMENTS } from "../../protocol/topology.ts";
import { withinMs } from "../../waiting/abort.ts";
import { firstAlone, together } from "../../waiting/together.ts";
import type { Arguments, Consumer, Wire, WireDelivery } from "../wire.ts";
import { declare } from "./declare.ts";
import type { Source } from "./delivery.ts";
import { type Attempt, type CallPlace, callPlans, type Place, SOURCES, sources } from "./places.ts";

const CLOSE_MS = 400;
const REATTACH_MS = 250;
const LAST_REATTACH_MS = 8_000;

/** What attachments need of the link that they belong to. */
export interface AttachmentParts {
  readonly service: string;
  readonly prefetch: { readonly calls: number; readonly inbox: number };
  /** Whether messages that hold several calls are welcome. */
  readonly takesBatches: boolean;
  readonly namespace: Namespace;
  /** The wire at the moment; `undefined` while there is none. */
  readonly wire: () => Wire | undefined;
  onDelivery(source: Source, delivery: WireDelivery): void;
  onReply(delivery: WireDelivery): void;
  /** Reports a failure that nobody waits for. */
  warn(details: object, message: string): void;
}

/** What was asked for is remembered and done again on a new wire. */
export class Attachments {
  readonly #parts: AttachmentParts;
  readonly #calls: string;
  readonly #inbox: string;
  #replyTo = "";

  // What was asked for: declared again, in this order, on every new wire.
  #serving = false;
  readonly #serviceKeys = new Set<string>();
  readonly #instanceKeys = new Set<string>();
  #replying = false;
  #hasServed = false;

  // What there is on the present wire.
  #declaredOn: Wire | undefined;
  readonly #bound = new Set<string>();
  // By place, the names that the broker gave to the queues of this instance alone.
  readonly #exclusive = new Map<Place, string>();
  readonly #consumers = new Map<Place, Consumer>();
  readonly #reattaching = new Map<Attempt, NodeJS.Timeout>();
  // Said to be so already.
  readonly #unavailable = new Set<Place>();
  #work: Promise<void> = Promise.resolve();
  #state: "taking" | "paused" | "closed" = "taking";

  constructor(parts: AttachmentParts) {
    this.#parts = parts;
    this.#calls = parts.namespace.calls(parts.service);
    this.#inbox = parts.namespace.inbox(parts.service);
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** Where replies come in; empty until there is such a place. */
  get replyTo(): string {
    return this.#replyTo;
  }

  /** The name of a queue; empty while the broker has not named it. */
  queueOf({ lane, alone }: Source): string {
    if (lane === "instance") return this.#exclusive.get(lane) ?? "";
    const queue = lane === "calls" ? this.#calls : this.#inbox;
    return alone ? this.#parts.namespace.again(queue) : queue;
  }

  get detached(): readonly string[] {
    const { namespace } = this.#parts;
    const [calls, inbox] = [this.#calls, this.#inbox];
    const wanted: [Place, string][] = [];
    if (this.#serving) {
      wanted.push(["calls", calls], ["inbox", inbox]);
      wanted.push(["calls alone", namespace.again(calls)], ["inbox alone", namespace.again(inbox)]);
      if (this.#parts.takesBatches) wanted.push(["calls batch", callPlans(this.#parts)["calls batch"].name]);
    }
    if (this.#instanceKeys.size > 0) wanted.push(["instance", "events of this instance"]);
    if (this.#replying) wanted.push(["replies", "replies to this instance"]);
    const missing = wanted.filter(([place]) => !this.#consumers.has(place)).map(([, name]) => name);
    return [...missing, ...this.#unbound().map((key) => `binding of ${key}`)];
  }

  /** Declares the service's queues and consumes them. */
  serve(): Promise<void> {
    this.#serving = true;
    return this.#enqueue((wire) => this.#attachService(wire));
  }

  /** Binds a key to what the instances share, or to this instance's own queue. */
  bind(key: string, per: "service" | "instance"): Promise<void> {
    const keys = per === "service" ? this.#serviceKeys : this.#instanceKeys;
    keys.add(key);
    // What is bound has to be consumed, also if this fails now.
    if (per === "service") this.#serving = true;
    const bound = this.#enqueue(async (wire) => {
      if (per === "instance") return this.#attachInstance(wire);
      await this.#declareService(wire);
      await this.#bindAll(wire, this.#inbox, [key]);
    });
    // Whoever asked hears of it; and it is tried again, since nobody else would.
    bound.catch(() => this.#bindLater());
    return bound;
  }

  unbindInstance(key: string): Promise<void> {
    this.#instanceKeys.delete(key);
    return this.#enqueue(async (wire) => {
      const queue = this.#exclusive.get("instance");
      if (queue === undefined) return;
      this.#bound.delete(`${queue} ${key}`);
      await wire.unbind(queue, this.#parts.namespace.events, key);
    });
  }

  openReplies(): Promise<void> {
    this.#replying = true;
    const opened = this.#enqueue((wire) => this.#attachReplies(wire));
    opened.catch(() => this.#reattach("replies", LAST_REATTACH_MS));
    return opened;
  }

  /**
   * Ends all consumers but that of the replies: what runs may still call. Batches are taken until `leaving` settles, as
   * long as callers may send some.
   */
  async pause(leaving: Promise<void>): Promise<void> {
    if (this.#state !== "taking") return;
    this.#state = "paused";
    for (const place of [...SOURCES, "bindings" as const]) clearTimeout(this.#reattaching.get(place));
    const cancel = (place: Place): Promise<void> | undefined => this.#consumers.get(place)?.cancel();
    const cancelAll = (): Promise<unknown> =>
      Promise.allSettled(SOURCES.map((place) => place !== "calls batch" && cancel(place)));
    await cancelAll();
    await this.#work.catch(() => undefined);
    await cancelAll(); // what was attached meanwhile
    await leaving;
    await cancel("calls batch")?.catch(() => undefined);
  }

  /** Ends all consumers, without holding up whoever waits for it. */
  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    for (const timer of this.#reattaching.values()) clearTimeout(timer);
    // A broker that does not answer must not hold a shutdown.
    const consumers = [...this.#consumers.values()].map((consumer) => consumer.close());
    await withinMs(CLOSE_MS, Promise.allSettled([this.#work, ...consumers]), () => undefined).catch(
      () => undefined,
    );
    this.#consumers.clear();
  }

  /** Does again, on a new wire, all that was asked for. */
  restore(): Promise<void> {
    return this.#enqueue(async (wire) => {
      if (this.#replying) await this.#attachReplies(wire);
      if (this.#state !== "taking") return;
      if (this.#serving) await this.#attachService(wire);
      if (this.#instanceKeys.size > 0) await this.#attachInstance(wire);
    });
  }

  /** The wire is gone, and all that was attached to it. */
  forget(): void {
    this.#consumers.clear();
    this.#declaredOn = undefined;
    this.#bound.clear();
    this.#exclusive.clear();
    this.#replyTo = "";
    for (const timer of this.#reattaching.values()) clearTimeout(timer);
    this.#reattaching.clear();
    // What still waits for an answer of that wire must not hold up what is asked of the next.
    this.#work = Promise.resolve();
  }

  // One thing at a time, in the order asked for: a binding needs its queue, a restore must not overtake a bind.
  #enqueue(work: (wire: Wire) => Promise<void>): Promise<void> {
    const next = this.#work.then(async () => {
      const wire = this.#parts.wire();
      if (wire === undefined || this.#state === "closed") return; // restored with the next wire, or never needed
      await work(wire);
    });
    this.#work = next.catch(() => undefined);
    return next;
  }

  async #declareService(wire: Wire): Promise<void> {
    if (this.#declaredOn === wire) return;
    const { namespace, service } = this.#parts;
    await firstAlone(namespace.durableQueues(service), (queue) => declare(wire, queue));
    this.#declaredOn = wire;
  }

  async #attachService(wire: Wire): Promise<void> {
    await this.#declareService(wire);
    await this.#bindAll(wire, this.#inbox, this.#serviceKeys);
    const inbox = this.#inbox;
    const { prefetch, namespace } = this.#parts;
    const again = namespace.again(inbox);
    const consumeInbox = (): Promise<void> => this.#consume(wire, "inbox", inbox, prefetch.inbox);
    await together([
      // Who connects for the first time shall hear of it; who comes back goes on with what there is.
      this.#hasServed ? this.#orLater("inbox", inbox, consumeInbox) : consumeInbox(),
      this.#orLater("inbox alone", again, () => this.#consume(wire, "inbox alone", again, 1)),
      this.#consumeFastLane(wire),
    ]);
    this.#hasServed = true;
  }

  // One after the other: where a node is down, a question about one of the two may take seconds, and the first is in need.
  async #consumeFastLane(wire: Wire): Promise<void> {
    await this.#consumeCalls(wire, "calls");
    if (this.#parts.takesBatches) await this.#consumeCalls(wire, "calls batch");
    await this.#consumeCalls(wire, "calls alone");
  }

  async #consumeCalls(wire: Wire, place: CallPlace): Promise<void> {
    const plan = callPlans(this.#parts)[place];
    const prefetch = place === "calls alone" ? 1 : this.#parts.prefetch.calls;
    const attach = async (): Promise<void> => {
      await declare(wire, plan);
      await this.#consume(wire, place, plan.name, prefetch);
    };
    await this.#orLater(place, plan.name, () =>
      attach().catch((error: unknown) => this.#attachAnew(wire, plan.name, { error, attach })),
    );
  }

  // One queue that cannot be had must not hold up the others: it is tried again on its own.
  async #orLater(place: Place, queue: string, attach: () => Promise<void>): Promise<void> {
    if (this.#consumers.has(place)) return;
    try {
      await attach();
      this.#unavailable.delete(place);
    } catch (error) {
      if (!isConfluoError(error, "UNAVAILABLE")) throw error;
      // Once, not once for each attempt.
      if (!this.#unavailable.has(place))
        this.#parts.warn({ queue, err: error }, `${queue} is not available; trying again.`);
      this.#unavailable.add(place);
      this.#reattach(place, LAST_REATTACH_MS);
    }
  }

  // A calls queue lives on one node of a cluster. With that node down it can be neither declared nor consumed, and what it
  // held is worth nothing: another takes its place. RabbitMQ 3.10 does not allow that.
  async #attachAnew(
    wire: Wire,
    queue: string,
    { error, attach }: { readonly error: unknown; readonly attach: () => Promise<void> },
  ): Promise<void> {
    if (!isConfluoError(error, "UNAVAILABLE")) throw error;
    // Someone who consumes from it has made it anew already: then it need only be asked for again.
    await wire.deleteQueue(queue, "unused").catch((cause: unknown) => {
      if (!isConfluoError(cause, "TOPOLOGY_CONFLICT")) throw cause;
    });
    await attach();
    this.#parts.warn({ queue, err: error }, `${queue} was not available; it was made anew.`);
  }

  async #attachInstance(wire: Wire): Promise<void> {
    const queue = await this.#declareExclusive(wire, "instance", INSTANCE_EVENTS_ARGUMENTS);
    await this.#bindAll(wire, queue, this.#instanceKeys);
    await this.#consume(wire, "instance", queue, this.#parts.prefetch.inbox);
  }

  // Once, also if what follows fails and is tried again.
  async #declareExclusive(wire: Wire, place: Place, args: Arguments): Promise<string> {
    const queue =
      this.#exclusive.get(place) ?? (await wire.declareQueue({ name: "", exclusive: true, arguments: args }));
    this.#exclusive.set(place, queue);
    return queue;
  }

  // Each once on a wire: what failed before is done when it is asked for again.
  async #bindAll(wire: Wire, queue: string, keys: Iterable<string>): Promise<void> {
    const missing = [...keys].filter((key) => !this.#bound.has(`${queue} ${key}`));
    await firstAlone(missing, async (key) => {
      await wire.bind(queue, this.#parts.namespace.events, key);
      this.#bound.add(`${queue} ${key}`);
    });
  }

  async #attachReplies(wire: Wire): Promise<void> {
    if (this.#consumers.has("replies")) return;
    const queue = await this.#declareExclusive(wire, "replies", REPLIES_ARGUMENTS);
    await this.#consume(wire, "replies", queue, "no-ack");
    this.#replyTo = queue;
  }

  async #consume(wire: Wire, place: Place, queue: string, prefetch: number | "no-ack"): Promise<void> {
    if (this.#consumers.has(place) || (place !== "replies" && this.#state !== "taking")) return;
    const consumer = await wire.consume({
      queue,
      prefetch,
      onDelivery:
        place === "replies"
          ? (delivery) => this.#parts.onReply(delivery)
          : (delivery) => this.#parts.onDelivery(sources[place], delivery),
      onCancelled: (reason) => {
        if (this.#consumers.get(place) !== consumer) return;
        this.#consumers.delete(place);
        if (place !== "replies" && this.#state !== "taking") return;
        // Those of this instance alone are gone with their consumer, or as good as gone.
        this.#exclusive.delete(place);
        if (place === "replies") this.#replyTo = "";
        this.#parts.warn(
          { queue, err: reason },
          `The consumer of ${queue} was cancelled; attaching it again.`,
        );
        this.#reattach(place, REATTACH_MS);
      },
    });
    // Closed, or the wire replaced, while the broker was asked: nobody else would end this consumer.
    if (this.#state === "closed" || this.#parts.wire() !== wire) {
      await consumer.close();
      return;
    }
    this.#consumers.set(place, consumer);
  }

  // The queue itself may be gone, and its bindings with it.
  #forgetInbox(): void {
    this.#declaredOn = undefined;
    for (const binding of [...this.#bound])
      if (binding.startsWith(`${this.#inbox} `)) this.#bound.delete(binding);
  }

  // Keys that were asked for and are not bound at the moment.
  #unbound(): readonly string[] {
    const own = this.#exclusive.get("instance") ?? "";
    const isBound = (queue: string, key: string): boolean => this.#bound.has(`${queue} ${key}`);
    return [
      ...[...this.#serviceKeys].filter((key) => !isBound(this.#inbox, key)),
      ...[...this.#instanceKeys].filter((key) => !isBound(own, key)),
    ];
  }

  #bindLater(): void {
    if (this.#state !== "taking") return;
    const attempt = (): void => {
      this.#reattaching.delete("bindings");
      this.#enqueue(async (wire) => {
        if (this.#serviceKeys.size > 0) await this.#attachService(wire);
        if (this.#instanceKeys.size > 0) await this.#attachInstance(wire);
      }).catch(() => this.#bindLater());
    };
    clearTimeout(this.#reattaching.get("bindings"));
    this.#reattaching.set("bindings", setTimeout(attempt, LAST_REATTACH_MS));
  }

  #attach(wire: Wire, place: Place): Promise<void> {
    switch (place) {
      case "replies":
        return this.#attachReplies(wire);
      case "instance":
        return this.#attachInstance(wire);
      case "calls":
      case "calls alone":
      case "calls batch":
        return this.#consumeCalls(wire, place);
      case "inbox":
      case "inbox alone":
        return this.#attachService(wire);
      default:
        return place satisfies never;
    }
  }

  #reattach(place: Place, afterMs: number): void {
    if (this.#state === "closed" || (this.#state === "paused" && place !== "replies")) return;
    const attempt = (): void => {
      this.#reattaching.delete(place);
      this.#enqueue((wire) => {
        if (this.#consumers.has(place)) return Promise.resolve();
        if (place === "inbox" || place === "inbox alone") this.#forgetInbox();
        return this.#attach(wire, place);
      }).catch((error: unknown) => {
        this.#parts.warn({ err: error, place }, `Could not attach the ${place} consumer again yet.`);
        this.#reattach(place, Math.min(afterMs * 2, LAST_REATTACH_MS));
      });
    };
    clearTimeout(this.#reattaching.get(place));
    this.#reattaching.set(place, setTimeout(attempt, afterMs));
  }
}
