/** Shares one connection among the services of a process at one broker, and opens a new one when it breaks. */

import { delay, untilAborted } from "../../async/abort.ts";
import { runOutsideContext } from "../../async/outside-context.ts";
import { ConfluoError, describeThrown, isConfluoError } from "../../errors.ts";
import type { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import { declareExchanges, declareQueues, isLimit } from "../queues/declare.ts";
import { DelayLevels } from "../queues/delay-levels.ts";
import type { Session, SessionListener, Transport } from "../transport.ts";
import { AmqpSession, type SessionHost } from "./amqp-session.ts";
import type { ConnectionSlot } from "./connection-slot.ts";
import { ReconnectPause, STEADY_MS } from "./pause.ts";

/** The parts that a {@link SharedConnection} works with. */
export interface SharedConnectionOptions {
  readonly description: string;
  /** The broker's address in a normal form, equal for all addresses of the same broker. */
  readonly address: string;
  readonly namespace: Namespace;
  /** Opens a client, trying each address once. Rejects with a `ConfluoError`. */
  open(
    signal: AbortSignal,
    onBlocked: (reason: string | undefined) => void,
    onRefused: (error: ConfluoError) => void,
  ): Promise<AmqpClient>;
  /** Returns a new message id. */
  newId(): string;
  warn(details: object, message: string): void;
  info(details: object, message: string): void;
}

/** The {@link Transport} over {@link AmqpClient}s. */
export class SharedConnection implements Transport {
  readonly #parts: SharedConnectionOptions;
  readonly #sessions = new Set<AmqpSession>();
  /** The current connection, as the sessions see it. */
  readonly #slot: SessionHost & ConnectionSlot;
  #opening: Promise<AmqpClient> | undefined;
  #closing: Promise<void> | undefined;
  #stop = new AbortController();
  #members = 0;
  readonly #pause = new ReconnectPause();
  #recovery = 0;
  #openedAt = 0;
  #lastFailure: ConfluoError | undefined;

  constructor(parts: SharedConnectionOptions) {
    this.#parts = parts;
    const { namespace, newId, warn } = parts;
    this.#slot = {
      client: undefined,
      connections: 0,
      namespace,
      levels: new DelayLevels(namespace),
      newId,
      warn,
      declareShared: (on) => this.#declareShared(on),
      leave: async (session) => {
        if (this.#sessions.delete(session)) await this.#leave();
      },
    };
  }

  get description(): string {
    return this.#parts.description;
  }

  get realm(): string {
    return `${this.#parts.namespace.name} ${this.#parts.address}`;
  }

  get lastFailure(): ConfluoError | undefined {
    return this.#lastFailure;
  }

  async openSession(member: SessionListener, signal: AbortSignal): Promise<Session> {
    this.#members += 1;
    try {
      // The connection may break in the turn in which it was opened.
      while (this.#slot.client === undefined) await untilAborted(this.#connected(), signal);
    } catch (error) {
      await this.#leave();
      throw error;
    }
    const session = new AmqpSession(this.#slot, member);
    this.#sessions.add(session);
    return session;
  }

  // The last session that leaves closes the connection, or ends the attempt to open it.
  async #leave(): Promise<void> {
    this.#members -= 1;
    if (this.#members > 0) return;
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#pause.reset();
    this.#lastFailure = undefined;
    const client = this.#slot.client;
    this.#slot.client = undefined;
    this.#opening = undefined;
    this.#closing = client?.close();
    await this.#closing;
  }

  async #connected(): Promise<AmqpClient> {
    await this.#closing;
    // The service that asked may have left meanwhile. Then nobody would ever close a connection that is opened now.
    if (this.#members === 0)
      throw new ConfluoError("CANCELLED", "Nobody waits for this connection any more.");
    if (this.#slot.client !== undefined) return this.#slot.client;
    // Outside of the context, because the connection serves all services and outlives the connect() that opens it.
    this.#opening ??= runOutsideContext(() => this.#open(this.#stop.signal));
    return this.#opening;
  }

  async #open(stop: AbortSignal): Promise<AmqpClient> {
    for (;;) {
      try {
        const client = await this.#attempt(stop);
        if (stop.aborted) {
          await client.close(); // the last session left in this turn
          throw stop.reason;
        }
        this.#slot.client = client;
        this.#openedAt = performance.now();
        this.#slot.connections += 1;
        this.#opening = undefined;
        // Otherwise, sessions of an earlier connection have yet to be restored.
        if (this.#sessions.size === 0) this.#lastFailure = undefined;
        void client.lost.then((reason) => this.#onLost(client, reason));
        return client;
      } catch (error) {
        if (stop.aborted) throw error;
        if (!isPassing(error)) {
          this.#opening = undefined;
          this.#failed(error);
          throw error;
        }
        // Logged once for each reason, not for each attempt.
        if (error.message !== this.#lastFailure?.message) {
          this.#parts.warn({ err: error }, `${error.message} Trying again.`);
        }
        this.#failed(error);
        await delay(this.#pause.next(), stop);
      }
    }
  }

  async #attempt(stop: AbortSignal): Promise<AmqpClient> {
    const client = await this.#parts.open(
      stop,
      (reason) => this.#onBlocked(reason),
      (error) => this.#onRefused(error),
    );
    try {
      stop.throwIfAborted();
      await this.#declareShared(client);
      stop.throwIfAborted();
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  async #declareShared(client: AmqpClient): Promise<void> {
    const { namespace } = this.#parts;
    await declareExchanges(client, namespace.exchanges());
    await declareQueues(client, namespace.sharedQueues());
  }

  // Remembers a failure until everything works again, so that it can be reported.
  #failed(error: unknown): void {
    if (!isConfluoError(error)) return;
    const { message: text, data } = error;
    if (!isLimit(error)) {
      this.#lastFailure = error;
      return;
    }
    this.#pause.limited();
    this.#lastFailure = new ConfluoError("UNAVAILABLE", text, { cause: error, data });
  }

  #onRefused(error: ConfluoError): void {
    const { description, warn } = this.#parts;
    warn({ err: error }, `${description} refuses what is published: ${error.message}`);
  }

  #onBlocked(reason: string | undefined): void {
    const { description, warn, info } = this.#parts;
    if (reason === undefined) info({}, `${description} takes messages again.`);
    else
      warn(
        { reason },
        `${description} takes no messages at the moment: ${reason}. Messages that are sent wait.`,
      );
  }

  #onLost(client: AmqpClient, reason: ConfluoError | undefined): void {
    if (this.#slot.client !== client) return;
    this.#slot.client = undefined;
    const error =
      reason ?? new ConfluoError("CONNECTION_LOST", `The connection to ${this.description} was closed.`);
    this.#parts.warn({ err: error }, `Lost the connection to ${this.description}; connecting again.`);
    for (const session of this.#sessions) {
      session.forget();
      session.member.onLost(error);
    }
    const stood = performance.now() - this.#openedAt >= STEADY_MS;
    if (stood) this.#pause.reset();
    this.#failed(error);
    void this.#recover(stood ? 0 : this.#pause.next());
  }

  /** @param firstMs how long to wait before the first attempt, in milliseconds. */
  async #recover(firstMs: number): Promise<void> {
    const stop = this.#stop.signal;
    // If the new connection breaks while services are restored on it, another recovery begins and this one ends.
    this.#recovery += 1;
    const recovery = this.#recovery;
    const isOver = (): boolean => stop.aborted || this.#recovery !== recovery;
    let told = "";
    if (firstMs > 0) await delay(firstMs, stop).catch(() => undefined);
    while (!isOver()) {
      try {
        const client = await this.#connected();
        // A session that cannot be restored must not delay the others.
        const restored = await Promise.allSettled(
          [...this.#sessions].map(async (session) => {
            await session.restore();
            if (this.#slot.client === client) session.member.onRestored();
          }),
        );
        if (this.#slot.client !== client) return; // lost again: another recovery has begun
        const failed = restored.find((result) => result.status === "rejected");
        if (failed !== undefined) throw failed.reason;
        this.#lastFailure = undefined;
        this.#parts.info({}, `Connected to ${this.description} again.`);
        return;
      } catch (error) {
        if (isOver()) return;
        // Logged once for each reason, not for each attempt.
        const reason = describeThrown(error).message;
        if (reason !== told) {
          this.#parts.warn(
            { err: error },
            `Could not restore the services at ${this.description} yet; trying again.`,
          );
        }
        told = reason;
        this.#failed(error);
        await delay(this.#pause.next(), stop).catch(() => undefined);
      }
    }
  }
}

// Returns whether a failure may be over at the next attempt. A broker to which a whole fleet connects at the same time leaves
// some declarations unanswered for long, as if a node of it were down.
function isPassing(error: unknown): error is ConfluoError {
  return (
    isConfluoError(error, "BROKER_UNREACHABLE") ||
    isConfluoError(error, "CONNECTION_LOST") ||
    isConfluoError(error, "UNAVAILABLE")
  );
}
