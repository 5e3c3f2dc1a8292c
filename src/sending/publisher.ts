/**
 * Sends one-way commands and events and waits for the broker's confirm. The promise of each message settles by its deadline.
 */

import { TimedPromise, untilOpen } from "../async/timed-promise.ts";
import type { AnyCommand } from "../contract/command.ts";
import type { AnyEvent } from "../contract/event.ts";
import { OutgoingMessage, outgoingMessages } from "../diagnostics.ts";
import { ConfluoError, invalidArgument, show } from "../errors.ts";
import { checkMs, checkSignal } from "../options/checks.ts";
import { fitsShortString, SHORT_STRING_BYTES } from "../protocol/address.ts";
import type { EncodedBody } from "../protocol/codec.ts";
import { messageIds } from "../protocol/envelope.ts";
import type { Message, Properties } from "../protocol/message.ts";
import type { DelayRecorder } from "../statistics/delays.ts";
import type { UseRecorder } from "../statistics/uses.ts";
import type { SessionSlot } from "../transport/session-slot.ts";
import type { Rejection, Session, Settled } from "../transport/transport.ts";
import { type DueTime, delayedMessage, dueTimeOf } from "./delay.ts";
import { type InFlightItem, InFlightSet } from "./in-flight.ts";
import type { MessagePreparer, PreparedMessage } from "./prepare-message.ts";
import { likelyCause, rejected } from "./publish-errors.ts";

/** The parts that a {@link Publisher} works with. */
export interface PublisherDependencies {
  readonly service: string;
  readonly instance: string;
  readonly timeoutMs: number;
  readonly preparer: MessagePreparer;
  readonly uses: UseRecorder;
  /** Counts the delayed messages that are not due yet. */
  readonly delays: DelayRecorder;
  /** Returns whether the service has an inbox, to which its delayed events return. */
  readonly hasInbox: () => boolean;
  /** The current session of the service. */
  readonly sessions: SessionSlot;
}

/** Publishes the one-way commands and the events of a service. */
export class Publisher {
  readonly #parts: PublisherDependencies;
  readonly #sessions: SessionSlot;
  readonly #newId: () => string;
  /** The messages that wait for their confirm. */
  readonly inFlight: InFlightSet<PendingConfirm> = new InFlightSet("the broker to confirm them");
  /** The number of messages in flight that wait to be published. */
  #later = 0;

  constructor(parts: PublisherDependencies) {
    this.#parts = parts;
    this.#sessions = parts.sessions;
    this.#newId = messageIds(parts.instance);
  }

  /**
   * Sends a one-way command. Rejects if it is not delivered.
   *
   * @throws a `ConfluoError` that says which argument is wrong.
   */
  send(to: string | AnyCommand, rest: readonly unknown[]): Promise<void> {
    const prepared = this.#parts.preparer.command("send", to, rest);
    const body = prepared.body.bytes;
    const properties = { ...this.#propertiesOf(prepared), type: prepared.path, mandatory: true } as const;
    this.#parts.uses.sends.add(prepared.service, prepared.contract);
    return this.#publish(prepared, { body, properties });
  }

  /**
   * Publishes an event. Rejects if the broker does not confirm it.
   *
   * @throws as {@link send}.
   */
  publish(to: string | AnyEvent, rest: readonly unknown[]): Promise<void> {
    const prepared = this.#parts.preparer.event(to, rest);
    const message = { body: prepared.body.bytes, properties: this.#propertiesOf(prepared) };
    this.#parts.uses.publishes.add("", prepared.contract);
    return this.#publish(prepared, message);
  }

  #propertiesOf({ body, headers, options: { messageId, expiresMs } }: PreparedMessage): Properties {
    if (messageId !== undefined) checkMessageId(messageId);
    const properties: Properties = {
      contentType: body.contentType,
      messageId: messageId ?? this.#newId(),
      appId: this.#parts.service,
      deliveryMode: 2,
      timestamp: Math.floor(Date.now() / 1_000),
    };
    if (expiresMs === undefined && headers === undefined) return properties;
    return {
      ...properties,
      ...(expiresMs === undefined ? {} : { expiration: String(checkMs("expiresMs", expiresMs)) }),
      ...(headers === undefined ? {} : { headers }),
    };
  }

  #publish(prepared: PreparedMessage, message: Message): Promise<void> {
    const { timeoutMs, signal, delayMs, at } = prepared.options;
    if (signal !== undefined) checkSignal(signal);
    const ms = timeoutMs === undefined ? this.#parts.timeoutMs : checkMs("timeoutMs", timeoutMs);
    const due = delayMs === undefined && at === undefined ? undefined : dueTimeOf(prepared.options);
    const pending =
      due === undefined
        ? new PendingConfirm(prepared, this, { ms, message })
        : this.#delayed(prepared, due, { ms, message });
    this.inFlight.add(pending);
    const { start, error, end } = outgoingMessages;
    if (start.hasSubscribers || error.hasSubscribers || end.hasSubscribers) this.#trace(pending);
    if (!pending.begin(signal)) return pending.promise;
    const { ready, broken } = this.#sessions;
    // Messages that already wait go first, so that messages keep the order in which they were sent.
    const isFirst = this.#later === 0 && broken === undefined;
    const isReady = ready !== undefined && isFirst && ready.congestion === undefined;
    if (isReady && pending.validate === undefined) pending.publish(ready);
    else this.publishLater(pending);
    return pending.promise;
  }

  #delayed(prepared: PreparedMessage, due: DueTime, sent: SentMessage): PendingConfirm {
    const { service, delays, hasInbox } = this.#parts;
    const isEvent = prepared.key !== undefined;
    if (isEvent && !hasInbox()) {
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        `${service} cannot publish ${show(prepared.path)} with a delay: the event returns to the inbox of its service, and ${service} has no route or subscription. Send a command with a delay instead, or publish the event from a service that handles something.`,
      );
    }
    const message = delayedMessage(sent.message, due, isEvent ? prepared.path : undefined);
    const to = isEvent ? service : prepared.service;
    return new PendingDelayed(prepared, this, { ms: sent.ms, message, to, due, delays });
  }

  // Reports the message to the diagnostics channels, whose listeners may add headers.
  #trace(pending: PendingConfirm): void {
    const { service, instance } = this.#parts;
    const { path, contract, key, message } = pending;
    const { body, properties } = message;
    const { messageId = "" } = properties;
    const kind = key === undefined ? "send" : "event";
    const to = key === undefined ? pending.service : undefined;
    const pattern = contract?.pattern ?? contract?.path;
    const told = new OutgoingMessage(
      { service, instance, kind, to, path, pattern, messageId },
      properties.headers,
    );
    const headers = told.begin();
    if (headers !== undefined) pending.message = { body, properties: { ...properties, headers } };
    told.until(pending.promise);
  }

  /** Publishes a message as soon as its body is validated and the broker accepts messages. */
  publishLater(pending: PendingConfirm): void {
    this.#publishInTurn(pending).catch((error: unknown) => pending.reject(error));
  }

  async #publishInTurn(pending: PendingConfirm): Promise<void> {
    this.#later += 1;
    try {
      if (pending.validate !== undefined) pending.replaceBody(await pending.validate());
      for (;;) {
        const session = await this.#sessions.whenReady();
        const closed = this.#sessions.broken ?? session.congestion;
        if (pending.over) return; // its sender no longer waits: it timed out or was aborted
        if (closed === undefined) {
          pending.publish(session);
          return;
        }
        await untilOpen(closed, pending);
      }
    } finally {
      this.#later -= 1;
    }
  }
}

const RESEND_MS = 50;
/** The number of connections in a row that may break while a message waits for its confirm. Then the message is rejected. */
const MOST_LOSSES = 5;

/** The pauses before a message that the broker refused without a reason is sent again, in milliseconds. */
const REFUSED_AGAIN_MS = [50, 200];

/** A message, and how long its sender waits for the confirm, in milliseconds. */
interface SentMessage {
  readonly ms: number;
  readonly message: Message;
}

/** A one-way command or event that was sent, from the call of the verb until it is confirmed or rejected. */
export class PendingConfirm extends TimedPromise<void> implements InFlightItem {
  slot = -1;
  bytes: number;
  readonly path: string;
  /** The service that a command is for; empty for an event. */
  readonly service: string;
  /** The routing key of an event; `undefined` for a command. */
  readonly key: string | undefined;
  readonly contract: PreparedMessage["contract"];
  /**
   * Validates the body in the sender's asynchronous context. `undefined` if there is no check, and once the check has passed.
   */
  validate: PreparedMessage["validate"];
  /** The message that is sent, with the headers that listeners may have added. */
  message: Message;
  readonly #publisher: Pick<Publisher, "inFlight" | "publishLater">;
  /** The number of the last connection on which it was published. */
  #connection = 0;
  /** The number of connections on which it was published. */
  #losses = 0;
  /** How often the broker refused it without a reason. */
  #refusals = 0;

  constructor(
    { path, service, key, contract, validate }: PreparedMessage,
    publisher: Pick<Publisher, "inFlight" | "publishLater">,
    { ms, message }: SentMessage,
  ) {
    super(ms);
    this.path = path;
    this.service = service;
    this.key = key;
    this.contract = contract;
    this.bytes = message.body.length;
    this.validate = validate;
    this.message = message;
    this.#publisher = publisher;
  }

  /** Replaces the body that the sender gave by the validated one. */
  replaceBody({ bytes, contentType }: EncodedBody): void {
    if (this.over) return;
    this.#publisher.inFlight.resize(this, bytes.length);
    this.message = { body: bytes, properties: { ...this.message.properties, contentType } };
  }

  /** Publishes the message, and settles with the broker's response. */
  publish(session: Session): void {
    this.validate = undefined;
    const settled: Settled = (rejection, why) => this.#settled(rejection, why);
    if (session.connected && session.connections !== this.#connection) {
      this.#connection = session.connections;
      this.#losses += 1;
    }
    this.handOver(session, settled);
  }

  /** Passes the message to the session. */
  protected handOver(session: Session, settled: Settled): void {
    if (this.key === undefined) session.send(this.service, this.message, settled);
    else session.publish(this.key, this.message, settled);
  }

  // A message whose confirm was lost with the connection may have arrived. It is sent again with the same id. So is one that the
  // broker refused without a reason: one of the queues that it was for may have been deleted in that moment, for example that of
  // a watcher that has left.
  #settled(rejection: Rejection | undefined, why: ConfluoError | undefined): void {
    if (rejection === undefined) this.resolve();
    else if (rejection === "refused" && why === undefined && this.#refusals < REFUSED_AGAIN_MS.length) {
      setTimeout(() => this.#publisher.publishLater(this), REFUSED_AGAIN_MS[this.#refusals]);
      this.#refusals += 1;
    } else if (rejection !== "lost") this.reject(rejected(rejection, this.service, this.path, why));
    else if (this.#losses >= MOST_LOSSES) this.reject(likelyCause(this.path, this.#losses));
    else setTimeout(() => this.#publisher.publishLater(this), RESEND_MS);
  }

  protected override get what(): string {
    const { service } = this;
    return `the broker to confirm ${this.path}${service === "" ? "" : ` for ${service}`}`;
  }

  protected override ended(): void {
    this.#publisher.inFlight.delete(this);
  }
}

/** A message with a delay, and the service to whose inbox it returns. */
interface DelayedSent extends SentMessage {
  readonly to: string;
  readonly due: DueTime;
  readonly delays: DelayRecorder;
}

/** A one-way command or event that is to be handled later. */
class PendingDelayed extends PendingConfirm {
  readonly #sent: DelayedSent;

  constructor(
    prepared: PreparedMessage,
    publisher: Pick<Publisher, "inFlight" | "publishLater">,
    sent: DelayedSent,
  ) {
    super(prepared, publisher, sent);
    this.#sent = sent;
  }

  // Each time with the wait that is left then, so that a lost connection does not make the message late.
  protected override handOver(session: Session, settled: Settled): void {
    const { to, due, delays } = this.#sent;
    const waitMs = due.at - performance.now();
    session.delay({ service: to, waitMs }, this.message, (rejection, why) => {
      if (rejection === undefined) delays.add(to, due.at);
      const isEvent = this.key !== undefined;
      if (rejection !== "returned" || !isEvent) settled(rejection, why);
      else settled("refused", new ConfluoError("UNAVAILABLE", `the inbox of ${to} does not exist now.`));
    });
  }
}

function checkMessageId(messageId: string): void {
  if (typeof messageId !== "string" || messageId === "" || !fitsShortString(messageId)) {
    throw invalidArgument("messageId", `well-formed Unicode of 1 to ${SHORT_STRING_BYTES} bytes`, messageId);
  }
}
