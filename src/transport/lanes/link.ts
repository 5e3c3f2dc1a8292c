/** A service's place at the broker: its queues, consumers and publishes, on whatever wire there is at the moment. */

import { isConfluoError } from "../../errors.ts";
import type { Message } from "../../protocol/message.ts";
import {
  INSTANCE_EVENTS_ARGUMENTS,
  type Namespace,
  type QueuePlan,
  REPLIES_ARGUMENTS,
} from "../../protocol/topology.ts";
import { withinMs } from "../../waiting/abort.ts";
import type { Lane, Link, Member, Settled } from "../transport.ts";
import type { Arguments, Consumer, Wire, WireDelivery } from "../wire.ts";
import { type DeliverySurroundings, LaneDelivery, type Source } from "./delivery.ts";

/** What a link needs of the hub that it hangs on. */
export interface LinkHost {
  readonly namespace: Namespace;
  /** The wire at the moment; `undefined` while there is none. */
  readonly wire: Wire | undefined;
  /** Declares what all services of the namespace share. */
  declareShared(wire: Wire): Promise<void>;
  newId(): string;
  /** Reports a failure that nobody waits for. */
  warn(details: object, message: string): void;
  leave(link: WireLink): Promise<void>;
}

/** What this link consumes from. */
type Place = Lane | "calls alone" | "inbox alone" | "replies";

const sources: Readonly<Record<Exclude<Place, "replies">, Source>> = {
  calls: { lane: "calls", alone: false },
  inbox: { lane: "inbox", alone: false },
  "calls alone": { lane: "calls", alone: true },
  "inbox alone": { lane: "inbox", alone: true },
  instance: { lane: "instance", alone: false },
};
const SOURCES = Object.keys(sources) as readonly (keyof typeof sources)[];

const CLOSE_MS = 400;
const REATTACH_MS = 250;
const LAST_REATTACH_MS = 8_000;

/** {@link Link} over a {@link Wire}. What was asked of it is remembered and done again on a new wire. */
export class WireLink implements Link {
  readonly member: Member;
  readonly #host: LinkHost;
  readonly #queues: { readonly calls: string; readonly inbox: string };
  readonly #surroundings: DeliverySurroundings;
  #replyTo = "";

  // What was asked for: declared again, in this order, on every new wire.
  #serving = false;
  readonly #serviceKeys = new Set<string>();
  readonly #instanceKeys = new Set<string>();
  #replying = false;

  // What there is on the present wire.
  #declaredOn: Wire | undefined;
  readonly #bound = new Set<string>();
  // By place, the names that the broker gave to the queues of this instance alone.
  readonly #exclusive = new Map<Place, string>();
  readonly #consumers = new Map<Place, Consumer>();
  readonly #reattaching = new Map<Place, NodeJS.Timeout>();
  // Between two delay queues: confirmed there before a pause is over, or they would be delivered once more.
  readonly #waitingOn = new Set<Promise<void>>();
  #work: Promise<void> = Promise.resolve();
  #state: "taking" | "paused" | "closed" = "taking";

  constructor(host: LinkHost, member: Member) {
    this.#host = host;
    this.member = member;
    const { namespace } = host;
    this.#queues = {
      calls: namespace.calls(member.service),
      inbox: namespace.inbox(member.service),
    };
    this.#surroundings = this.#surroundingsOf(host);
  }

  get connected(): boolean {
    return this.#host.wire !== undefined;
  }

  get congestion(): Promise<void> | undefined {
    return this.#host.wire?.congestion;
  }

  get blocked(): string | undefined {
    return this.#host.wire?.blocked;
  }

  get detached(): readonly string[] {
    const { namespace } = this.#host;
    const { calls, inbox } = this.#queues;
    const wanted: [Place, string][] = [];
    if (this.#serving) {
      wanted.push(["calls", calls], ["inbox", inbox]);
      wanted.push(["calls alone", namespace.again(calls)], ["inbox alone", namespace.again(inbox)]);
    }
    if (this.#instanceKeys.size > 0) wanted.push(["instance", "events of this instance"]);
    if (this.#replying) wanted.push(["replies", "replies to this instance"]);
    return wanted.filter(([place]) => !this.#consumers.has(place)).map(([, name]) => name);
  }

  get replyTo(): string {
    return this.#replyTo;
  }

  serve(): Promise<void> {
    this.#serving = true;
    return this.#enqueue((wire) => this.#attachService(wire));
  }

  bind(key: string, per: "service" | "instance"): Promise<void> {
    const keys = per === "service" ? this.#serviceKeys : this.#instanceKeys;
    keys.add(key);
    return this.#enqueue(async (wire) => {
      if (per === "instance") return this.#attachInstance(wire);
      await this.#declareService(wire);
      await this.#bindAll(wire, this.#queues.inbox, [key]);
    });
  }

  unbindInstance(key: string): Promise<void> {
    this.#instanceKeys.delete(key);
    return this.#enqueue(async (wire) => {
      const queue = this.#exclusive.get("instance");
      if (queue === undefined) return;
      this.#bound.delete(`${queue} ${key}`);
      await wire.unbind(queue, this.#host.namespace.events, key);
    });
  }

  openReplies(): Promise<void> {
    this.#replying = true;
    return this.#enqueue((wire) => this.#attachReplies(wire));
  }

  call(service: string, message: Message, settled: Settled): void {
    this.#publish({ exchange: "", key: this.#host.namespace.calls(service) }, message, settled);
  }

  send(service: string, message: Message, settled: Settled): void {
    this.#publish({ exchange: "", key: this.#host.namespace.inbox(service) }, message, settled);
  }

  publish(key: string, message: Message, settled: Settled): void {
    this.#publish({ exchange: this.#host.namespace.events, key }, message, settled);
  }

  reply(to: string, message: Message): void {
    this.#host.wire?.post(to, message);
  }

  async pause(): Promise<void> {
    if (this.#state !== "taking") return;
    this.#state = "paused";
    // Not that of the replies: what runs may still call.
    for (const place of SOURCES) clearTimeout(this.#reattaching.get(place));
    await this.#work.catch(() => undefined);
    await Promise.allSettled(SOURCES.map((place) => this.#consumers.get(place)?.cancel()));
    await Promise.all(this.#waitingOn);
  }

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
    await this.#host.leave(this);
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
  }

  // One thing at a time, in the order asked for: a binding needs its queue, a restore must not overtake a bind.
  #enqueue(work: (wire: Wire) => Promise<void>): Promise<void> {
    const next = this.#work.then(async () => {
      const { wire } = this.#host;
      if (wire === undefined || this.#state === "closed") return; // restored with the next wire, or never needed
      await work(wire);
    });
    this.#work = next.catch(() => undefined);
    return next;
  }

  async #declareService(wire: Wire): Promise<void> {
    if (this.#declaredOn === wire) return;
    const { namespace } = this.#host;
    const { service } = this.member;
    for (const plan of namespace.durableQueues(service)) await declare(wire, plan);
    for (const plan of namespace.callQueues(service))
      await this.#orAnew(wire, plan, () => declare(wire, plan));
    this.#declaredOn = wire;
  }

  // A calls queue lives on one node of a cluster. With that node down it can be neither declared nor consumed, and what it
  // held is worth nothing: another takes its place.
  async #orAnew(wire: Wire, plan: QueuePlan, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isConfluoError(error, "UNAVAILABLE")) throw error;
      this.#host.warn({ queue: plan.name, error }, `${plan.name} is not available; making it anew.`);
      await wire.deleteQueue(plan.name);
      await declare(wire, plan);
      await work();
    }
  }

  async #attachService(wire: Wire): Promise<void> {
    await this.#declareService(wire);
    await this.#bindAll(wire, this.#queues.inbox, this.#serviceKeys);
    const { inbox } = this.#queues;
    const { prefetch } = this.member;
    const consuming = [
      this.#consume(wire, "inbox", inbox, prefetch.inbox),
      this.#consumeCalls(wire, "calls", prefetch.calls),
      this.#consume(wire, "inbox alone", this.#host.namespace.again(inbox), 1),
      this.#consumeCalls(wire, "calls alone", 1),
    ];
    // To the last, also when one fails: what comes next must not meet the others halfway.
    const failed = (await Promise.allSettled(consuming)).find(({ status }) => status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
  }

  async #consumeCalls(wire: Wire, place: "calls" | "calls alone", prefetch: number): Promise<void> {
    const [own, again] = this.#host.namespace.callQueues(this.member.service);
    const plan = place === "calls" ? own : again;
    await this.#orAnew(wire, plan, () => this.#consume(wire, place, plan.name, prefetch));
  }

  async #attachInstance(wire: Wire): Promise<void> {
    const queue = await this.#declareExclusive(wire, "instance", INSTANCE_EVENTS_ARGUMENTS);
    await this.#bindAll(wire, queue, this.#instanceKeys);
    await this.#consume(wire, "instance", queue, this.member.prefetch.inbox);
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
    for (const key of keys) {
      const binding = `${queue} ${key}`;
      if (this.#bound.has(binding)) continue;
      await wire.bind(queue, this.#host.namespace.events, key);
      this.#bound.add(binding);
    }
  }

  async #attachReplies(wire: Wire): Promise<void> {
    if (this.#consumers.has("replies")) return;
    const queue = await this.#declareExclusive(wire, "replies", REPLIES_ARGUMENTS);
    await this.#consume(wire, "replies", queue, "no-ack");
    this.#replyTo = queue;
  }

  async #consume(wire: Wire, place: Place, queue: string, prefetch: number | "no-ack"): Promise<void> {
    if (this.#consumers.has(place) || (place !== "replies" && this.#state !== "taking")) return;
    const { member } = this;
    const consumer = await wire.consume({
      queue,
      prefetch,
      onDelivery:
        place === "replies"
          ? (delivery) => member.onReply(delivery.message)
          : (delivery) => this.#deliver(place, delivery),
      onCancelled: (reason) => {
        if (this.#consumers.get(place) !== consumer) return;
        this.#consumers.delete(place);
        // Those of this instance alone are gone with their consumer, or as good as gone.
        this.#exclusive.delete(place);
        if (place === "replies") this.#replyTo = "";
        this.#host.warn(
          { queue, error: reason },
          `The consumer of ${queue} was cancelled; attaching it again.`,
        );
        this.#reattach(place, REATTACH_MS);
      },
    });
    // Closed, or the wire replaced, while the broker was asked: nobody else would end this consumer.
    if (this.#state === "closed" || this.#host.wire !== wire) {
      await consumer.close();
      return;
    }
    this.#consumers.set(place, consumer);
  }

  #deliver(place: keyof typeof sources, wired: WireDelivery): void {
    const delivery = new LaneDelivery(sources[place], wired, this.#surroundings);
    if (delivery.lane !== "inbox" || delivery.origin.waitMs === 0) {
      this.member.onDelivery(delivery);
      return;
    }
    const waiting = delivery.waitOn().finally(() => this.#waitingOn.delete(waiting));
    this.#waitingOn.add(waiting);
  }

  // Getters, since wire and queue change with the connection.
  #surroundingsOf(host: LinkHost): DeliverySurroundings {
    const queueOf = ({ lane, alone }: Source): string => {
      if (lane === "instance") return this.#exclusive.get(lane) ?? "";
      return alone ? host.namespace.again(this.#queues[lane]) : this.#queues[lane];
    };
    const isClosed = (): boolean => this.#state === "closed";
    const { namespace, newId, warn } = host;
    const { service, instance } = this.member;
    const queues = { inbox: this.#queues.inbox, dead: namespace.dead(service) };
    return {
      instance,
      namespace,
      queues,
      get wire() {
        return isClosed() ? undefined : host.wire;
      },
      queueOf,
      declareMoves: async () => {
        const { wire } = host;
        if (wire === undefined) return;
        await host.declareShared(wire);
        for (const plan of [...namespace.durableQueues(service), ...namespace.callQueues(service)])
          await declare(wire, plan);
      },
      newId,
      warn,
    };
  }

  #reattach(place: Place, afterMs: number): void {
    if (this.#state === "closed" || (this.#state === "paused" && place !== "replies")) return;
    const attempt = (): void => {
      this.#reattaching.delete(place);
      this.#enqueue((wire) => {
        if (this.#consumers.has(place)) return Promise.resolve();
        this.#declaredOn = undefined; // the queue itself may be gone, and its bindings with it
        this.#bound.clear();
        if (place === "replies") return this.#attachReplies(wire);
        return place === "instance" ? this.#attachInstance(wire) : this.#attachService(wire);
      }).catch((error: unknown) => {
        this.#host.warn({ error, place }, `Could not attach the ${place} consumer again yet.`);
        this.#reattach(place, Math.min(afterMs * 2, LAST_REATTACH_MS));
      });
    };
    this.#reattaching.set(place, setTimeout(attempt, afterMs));
  }

  #publish(
    route: { readonly exchange: string; readonly key: string },
    message: Message,
    settled: Settled,
  ): void {
    const { wire } = this.#host;
    if (wire === undefined) setImmediate(settled, "lost");
    else wire.publish(route, message, settled);
  }
}

/** Declares a queue and binds it. */
export async function declare(
  wire: Wire,
  { name, arguments: args, bindings = [] }: QueuePlan,
): Promise<void> {
  await wire.declareQueue({ name, arguments: args });
  for (const { exchange, key } of bindings) await wire.bind(name, exchange, key);
}
