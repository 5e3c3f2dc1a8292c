/** A one-way command or event that waits for the broker's confirm. */

import type { SlotSetItem } from "../async/slot-set.ts";
import { TimedPromise } from "../async/timed-promise.ts";
import type { AnyCommand } from "../contract/command.ts";
import type { AnyEvent } from "../contract/event.ts";
import type { ConfluoError } from "../errors.ts";
import type { EncodedBody } from "../protocol/codec.ts";
import type { Message } from "../protocol/message.ts";
import type { Rejection, Session, Settled } from "../transport/transport.ts";
import type { PreparedMessage } from "./pending-call.ts";
import { likelyCause, rejected } from "./publish-errors.ts";

const RESEND_MS = 50;
/** On how many connections in a row a message may be that are lost before it is confirmed. */
const MOST_LOSSES = 5;

/** What a publish needs of those that it is one of. */
export interface PublishDetails {
  readonly outgoing: PreparedMessage;
  readonly contract: AnyCommand | AnyEvent | undefined;
  readonly message: Message;
  /** Of a command; empty for an event. */
  readonly service: string;
  /** Of an event; `undefined` for a command. */
  readonly key: string | undefined;
  readonly of: {
    /** It may have arrived, or not: it is to go out again, as the same message. */
    again(pending: PendingConfirm): void;
    /** It waits no longer. */
    remove(pending: PendingConfirm): void;
  };
}

/** From the moment it is made until it is confirmed, or nobody waits for that any more. */
export class PendingConfirm extends TimedPromise<void> implements SlotSetItem {
  slot = -1;
  readonly path: string;
  readonly service: string;
  readonly contract: PublishDetails["contract"];
  /** The check of its body, in its sender's context; absent if there is none, and once it has passed. */
  validate: PreparedMessage["validate"];
  /** Whoever listens may add headers to it before it goes out. */
  message: Message;
  readonly #key: string | undefined;
  readonly #of: PublishDetails["of"];
  /** The connection that it was given to last, and how many it was given to. */
  #connection = 0;
  #losses = 0;

  constructor(ms: number, { outgoing, contract, message, service, key, of }: PublishDetails) {
    super(ms);
    this.path = outgoing.path;
    this.service = service;
    this.contract = contract;
    this.validate = outgoing.validate;
    this.message = message;
    this.#key = key;
    this.#of = of;
  }

  get isEvent(): boolean {
    return this.#key !== undefined;
  }

  /** Of the body. */
  get bytes(): number {
    return this.message.body.length;
  }

  /** It was checked, and this is the body to send. */
  replaceBody({ bytes, contentType }: EncodedBody): void {
    this.message = { body: bytes, properties: { ...this.message.properties, contentType } };
  }

  /** Sends it, and settles with what the broker says. */
  publish(link: Session): void {
    this.validate = undefined;
    const settled: Settled = (rejection, why) => this.#settled(rejection, why);
    if (link.connected && link.connections !== this.#connection) {
      this.#connection = link.connections;
      this.#losses += 1;
    }
    if (this.#key === undefined) link.send(this.service, this.message, settled);
    else link.publish(this.#key, this.message, settled);
  }

  #settled(rejection: Rejection | undefined, why: ConfluoError | undefined): void {
    if (rejection === undefined) this.resolve();
    else if (rejection !== "lost") this.reject(rejected(rejection, this.service, this.path, why));
    else if (this.#losses >= MOST_LOSSES) this.reject(likelyCause(this.path, this.#losses));
    else setTimeout(() => this.#of.again(this), RESEND_MS);
  }

  protected override get what(): string {
    const { service } = this;
    return `the broker to confirm ${this.path}${service === "" ? "" : ` for ${service}`}`;
  }

  protected override ended(): void {
    this.#of.remove(this);
  }
}
