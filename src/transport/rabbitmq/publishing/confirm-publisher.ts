/** Publishes with confirms on a channel of its own, which is opened again when the broker closes it. */

import type { Message as AmqpMessage, ConfirmChannel } from "amqplib";
import type { ConfluoError } from "../../../errors.ts";
import type { Message, Properties } from "../../../protocol/message.ts";
import type { PublishFailure, PublishSettled, Route } from "../../amqp-client.ts";
import type { Connection } from "../connection.ts";
import { isClosed, operationFailure, unwritable } from "../failure.ts";
import type { PublishBackpressure } from "./publish-backpressure.ts";
import { type PublishRefusal, refusalOfPublish } from "./publish-refusal.ts";
import type { Refusals } from "./refusals.ts";

interface Waiting {
  readonly route: Route;
  readonly body: Buffer;
  readonly properties: Properties;
  readonly settled: PublishSettled;
  /** True if the message was written to a channel that the broker then closed. It may have arrived. */
  again: boolean;
  /** The number of channels that were closed while this message was on them, without a reason that names a message. */
  strikes: number;
}

/** A channel and its state. */
interface Line {
  readonly channel: ConfirmChannel;
  readonly returned: Map<string, number>;
  /** The number of messages that were written, of those that are settled, and of those written before the last rest. */
  written: number;
  settled: number;
  rested: number;
  /** The broker's reason for closing the channel. */
  error: unknown;
  /** The messages that were unconfirmed when the channel closed, in the order in which they were published. */
  readonly left: Waiting[];
}

const MOST_STRIKES = 3;

/** Publishes are pipelined; each is settled once. */
export class ConfirmPublisher {
  readonly #connection: Connection;
  readonly #pressure: PublishBackpressure;
  readonly #refusals: Refusals;
  readonly #isSpare: boolean;
  #line: Line | undefined;
  #opening: Promise<void> | undefined;
  /** The messages that wait for the channel to open, or for messages that must be published again before them. */
  #queue: Waiting[] = [];
  /**
   * The number of messages that were published again and are not confirmed yet. Nothing else is published meanwhile, so that
   * another refusal cannot force them to be published a third time.
   */
  #again = 0;
  /**
   * The ids of mandatory messages under way, each with the messages of the same id that wait: the broker does not report which
   * of two messages with one id it returns.
   */
  readonly #underWay = new Map<string, Waiting[] | undefined>();
  // The limit that the broker named when it refused a message for its size. The limit on what may be sent is checked by the
  // callers.
  #maxBytes = Number.POSITIVE_INFINITY;

  /** @param isSpare if true, the connection is kept even if this channel cannot be opened. */
  constructor(connection: Connection, pressure: PublishBackpressure, refusals: Refusals, isSpare = false) {
    this.#connection = connection;
    this.#pressure = pressure;
    this.#refusals = refusals;
    this.#isSpare = isSpare;
  }

  open(): Promise<void> {
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(): Promise<void> {
    const channel = await this.#connection.confirmChannel();
    const line: Line = {
      channel,
      returned: new Map(),
      written: 0,
      settled: 0,
      rested: 0,
      error: undefined,
      left: [],
    };
    channel.on("return", ({ fields, properties }: AmqpMessage) => {
      const id = identity(fields.exchange, fields.routingKey, properties);
      line.returned.set(id, (line.returned.get(id) ?? 0) + 1);
    });
    channel.on("error", (error: unknown) => {
      line.error = error;
    });
    channel.on("close", () => this.#closed(line));
    this.#line = line;
    this.#flush(line);
  }

  /**
   * Closes the channel if nothing was published since the last call and nothing is unconfirmed, because an idle channel costs a
   * broker with thousands of clients memory. The next message opens another.
   */
  rest(): void {
    const line = this.#line;
    if (line === undefined) return;
    const isIdle = line.written === line.rested && line.written === line.settled && this.#queue.length === 0;
    line.rested = line.written;
    if (!isIdle) return;
    this.#line = undefined;
    Promise.resolve()
      .then(() => line.channel.close())
      .catch(() => undefined);
  }

  publish(route: Route, message: Message, settled: PublishSettled): void {
    const body = asBuffer(message.body);
    if (body.length > this.#maxBytes) return void setImmediate(settled, "too-large");
    const waiting: Waiting = {
      route,
      body,
      properties: message.properties,
      settled,
      again: false,
      strikes: 0,
    };
    if (this.#line !== undefined && this.#again === 0) this.#write(this.#line, waiting);
    else if (this.#connection.open) this.#hold(waiting);
    else setImmediate(settled, "lost");
  }

  #hold(waiting: Waiting): void {
    this.#pressure.add(waiting.body.length);
    this.#queue.push(waiting);
    if (this.#line === undefined) this.#reopen();
  }

  // Writes the messages that wait. Messages that were published before go first, and alone.
  #flush(line: Line): void {
    const queue = this.#queue;
    const first = queue.findIndex(({ again }) => !again);
    const count = first === -1 ? queue.length : first === 0 ? queue.length : first;
    this.#queue = queue.slice(count);
    if (first !== 0) this.#again = count;
    for (const waiting of queue.slice(0, count)) {
      this.#pressure.remove(waiting.body.length);
      this.#write(line, waiting);
    }
  }

  #write(line: Line, waiting: Waiting): void {
    const { route, body, properties } = waiting;
    if (properties.mandatory && properties.messageId !== undefined) {
      if (this.#isBehindAnother(properties.messageId, waiting)) return;
    }
    const { length } = body;
    this.#pressure.add(length);
    try {
      line.channel.publish(route.exchange, route.key, body, properties as object, (error: unknown) => {
        this.#pressure.remove(length);
        line.settled += 1;
        if (error === null || error === undefined) {
          if (this.#refusals.any) this.#refusals.taken(route);
          this.#settle(line, waiting, takeReturn(line, waiting) ? "returned" : undefined);
        } else if (isNack(error)) this.#settle(line, waiting, "refused");
        else line.left.push(waiting); // the channel emits 'close' in this turn
      });
      line.written += 1;
    } catch (error) {
      this.#pressure.remove(length);
      // Nothing was written. If the channel is gone, it also emits 'close'. Any other error concerns only this message.
      setImmediate(() => {
        if (isClosed(error)) this.#settle(line, waiting, "lost");
        else this.#settle(line, waiting, "invalid", unwritable(error));
      });
    }
  }

  #isBehindAnother(id: string, waiting: Waiting): boolean {
    const behind = this.#underWay.get(id);
    if (behind === undefined && !this.#underWay.has(id)) {
      this.#underWay.set(id, undefined);
      return false;
    }
    this.#pressure.add(waiting.body.length);
    if (behind === undefined) this.#underWay.set(id, [waiting]);
    else behind.push(waiting);
    return true;
  }

  #settle(line: Line, waiting: Waiting, failure?: PublishFailure, why?: ConfluoError): void {
    // After the channel has closed, these counts are reset.
    if (this.#line === line) {
      const { messageId, mandatory } = waiting.properties;
      if (mandatory && messageId !== undefined) this.#next(messageId, line);
      if (waiting.again) {
        this.#again -= 1;
        if (this.#again === 0) this.#flush(line);
      }
    }
    waiting.settled(failure, why);
  }

  // Publishes the next message with the same id.
  #next(id: string, line: Line): void {
    const behind = this.#underWay.get(id);
    this.#underWay.delete(id);
    const next = behind?.shift();
    if (next === undefined) return;
    this.#pressure.remove(next.body.length);
    this.#write(line, next);
    if (behind !== undefined && behind.length > 0) this.#underWay.set(id, behind);
  }

  // The broker handles the messages of a channel in order, and closes the channel at the first that it refuses. Messages before
  // that one have been routed, but perhaps not stored safely. Messages after it have not been handled.
  #closed(line: Line): void {
    if (this.#line !== line) return;
    this.#line = undefined;
    this.#again = 0;
    const queue = this.#queue;
    this.#queue = [];
    const behind = [...this.#underWay.values()].flatMap((waiting) => waiting ?? []);
    this.#underWay.clear();
    this.#sort(line);
    this.#queue.push(...behind, ...queue);
    if (!this.#connection.open) this.#abandon("lost");
    else if (this.#queue.length > 0 || line.error !== undefined) this.#reopen();
  }

  #reopen(): void {
    this.open().catch((error: unknown) => {
      if (this.#isSpare && this.#connection.open) {
        this.#abandon("refused", operationFailure(error, "open one more channel"));
        return;
      }
      // Without a channel nothing could be sent any more, so a new connection is better.
      this.#connection.giveUp(error as Error);
      this.#abandon("lost");
    });
  }

  #sort(line: Line): void {
    const { error, left } = line;
    const refusal = error === undefined ? undefined : refusalOfPublish(error, left);
    if (refusal === undefined) {
      for (const { settled } of left) settled("lost");
      return;
    }
    if (refusal.maxBytes !== undefined) this.#maxBytes = Math.min(this.#maxBytes, refusal.maxBytes);
    if (refusal.about !== undefined) this.#refusals.note(refusal.about, refusal.why);
    const { first } = refusal;
    for (const [n, waiting] of left.entries()) {
      if (first === undefined) this.#withoutCulprit(waiting, refusal);
      else if (refusal.names(waiting)) waiting.settled(refusal.failure, refusal.why);
      else if (n > first) this.#requeue(waiting, false);
      else if (takeReturn(line, waiting)) waiting.settled("returned");
      else if (waiting.properties.deliveryMode === 2) this.#requeue(waiting, true);
      // A call is not published again, because it could run twice. It succeeds or fails by its answer.
      else waiting.settled();
    }
  }

  // Handles a message when the broker's text names none. A message that was on several such channels is the likely cause.
  #withoutCulprit(waiting: Waiting, { failure, why }: PublishRefusal): void {
    waiting.strikes += 1;
    if (waiting.strikes >= MOST_STRIKES) waiting.settled(failure, why);
    else if (waiting.properties.deliveryMode === 2) this.#requeue(waiting, true);
    else waiting.settled("lost");
  }

  #requeue(waiting: Waiting, again: boolean): void {
    waiting.again = again;
    this.#pressure.add(waiting.body.length);
    this.#queue.push(waiting);
  }

  #abandon(failure: PublishFailure, why?: ConfluoError): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const { body, settled } of queue) {
      this.#pressure.remove(body.length);
      setImmediate(settled, failure, why);
    }
  }
}

function takeReturn({ returned }: Line, { route: { exchange, key }, properties }: Waiting): boolean {
  if (returned.size === 0) return false;
  const id = identity(exchange, key, properties);
  const returns = returned.get(id) ?? 0;
  if (returns > 1) returned.set(id, returns - 1);
  else returned.delete(id);
  return returns > 0;
}

// Returns a text that matches a return to its confirm: exchange, key and id. No two messages under way share it.
function identity(
  exchange: string,
  key: string,
  properties: { readonly messageId?: unknown; readonly correlationId?: unknown },
): string {
  return `${exchange} ${key} ${properties.messageId ?? properties.correlationId ?? ""}`;
}

function isNack(error: unknown): boolean {
  return error instanceof Error && error.message === "message nacked";
}

/** Returns a view, not a copy, because amqplib accepts only a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
