/** A service's place at the broker: what it publishes, and what becomes of what it is given. */

import type { Message } from "../../protocol/message.ts";
import type { Namespace } from "../../protocol/topology.ts";
import type { Gate } from "../../waiting/gate.ts";
import type { Link, Member, Settled } from "../transport.ts";
import type { Wire, WireDelivery } from "../wire.ts";
import { Attachments } from "./attachments.ts";
import { declare } from "./declare.ts";
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

/** {@link Link} over a {@link Wire}. */
export class WireLink implements Link {
  readonly member: Member;
  readonly #host: LinkHost;
  readonly #attachments: Attachments;
  readonly #surroundings: DeliverySurroundings;
  // Between two delay queues: confirmed there before a pause is over, or they would be delivered once more.
  readonly #waitingOn = new Set<Promise<void>>();

  constructor(host: LinkHost, member: Member) {
    this.#host = host;
    this.member = member;
    this.#attachments = new Attachments({
      service: member.service,
      prefetch: member.prefetch,
      namespace: host.namespace,
      wire: () => host.wire,
      onDelivery: (source, delivery) => this.#deliver(source, delivery),
      onReply: ({ message }) => member.onReply(message),
      warn: host.warn,
    });
    this.#surroundings = this.#surroundingsOf(host);
  }

  get connected(): boolean {
    return this.#host.wire !== undefined;
  }

  get congestion(): Gate | undefined {
    return this.#host.wire?.congestion;
  }

  get blocked(): string | undefined {
    return this.#host.wire?.blocked;
  }

  get detached(): readonly string[] {
    return this.#attachments.detached;
  }

  get replyTo(): string {
    return this.#attachments.replyTo;
  }

  serve(): Promise<void> {
    return this.#attachments.serve();
  }

  bind(key: string, per: "service" | "instance"): Promise<void> {
    return this.#attachments.bind(key, per);
  }

  unbindInstance(key: string): Promise<void> {
    return this.#attachments.unbindInstance(key);
  }

  openReplies(): Promise<void> {
    return this.#attachments.openReplies();
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

  reply(to: string, message: Message, tooLarge?: () => void): void {
    this.#host.wire?.post(to, message, tooLarge);
  }

  async pause(): Promise<void> {
    await this.#attachments.pause();
    await Promise.all(this.#waitingOn);
  }

  async close(): Promise<void> {
    await this.#attachments.close();
    await this.#host.leave(this);
  }

  /** Does again, on a new wire, all that was asked for. */
  restore(): Promise<void> {
    return this.#attachments.restore();
  }

  /** The wire is gone, and all that was attached to it. */
  forget(): void {
    this.#attachments.forget();
  }

  #deliver(source: Source, wired: WireDelivery): void {
    const delivery = new LaneDelivery(source, wired, this.#surroundings);
    if (delivery.lane !== "inbox" || delivery.origin.waitMs === 0) {
      this.member.onDelivery(delivery);
      return;
    }
    const waiting = delivery.waitOn().finally(() => this.#waitingOn.delete(waiting));
    this.#waitingOn.add(waiting);
  }

  // Getters, since wire and queue change with the connection.
  #surroundingsOf(host: LinkHost): DeliverySurroundings {
    const attachments = this.#attachments;
    const { namespace, newId, warn } = host;
    const { service, instance } = this.member;
    let declaring: Promise<void> | undefined;
    const declareMoves = async (): Promise<void> => {
      const { wire } = host;
      if (wire === undefined) return;
      await host.declareShared(wire);
      for (const plan of [...namespace.durableQueues(service), ...namespace.callQueues(service)])
        await declare(wire, plan);
    };
    return {
      instance,
      namespace,
      dead: namespace.dead(service),
      get wire() {
        return attachments.isClosed ? undefined : host.wire;
      },
      queueOf: (source) => attachments.queueOf(source),
      // Once for all that failed at the same time: it takes some forty requests.
      declareMoves: () => {
        declaring ??= declareMoves().finally(() => {
          declaring = undefined;
        });
        return declaring;
      },
      newId,
      warn,
    };
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
