/** The channels for requests to the broker that are not messages: declare, bind, inspect and delete. */

import type { Channel } from "amqplib";
import { isConfluoError } from "../../errors.ts";
import type { Connection } from "./connection.ts";
import { lacksChannel, operationFailure } from "./failure.ts";

/**
 * Enough channels that concurrent requests do not wait for each other's answers, few enough for a broker with thousands of
 * clients.
 */
const CHANNELS = 4;
const AT_FIRST = 2;

/** A few channels, each opened when it is first needed. A request goes to the channel with the fewest open requests. */
export class ManagementChannels {
  readonly #all: readonly ControlChannel[];

  constructor(connection: Connection) {
    const first = new ControlChannel(connection);
    const others = Array.from({ length: CHANNELS - 1 }, () => new ControlChannel(connection, first));
    this.#all = [first, ...others];
  }

  /** Opens the channels that the first requests need, so that these need not wait for it. */
  async open(): Promise<void> {
    await Promise.all(this.#all.slice(0, AT_FIRST).map((each) => each.open()));
  }

  /**
   * Closes the channels that had no request since the last call, apart from the first, because idle channels cost a broker with
   * thousands of clients memory.
   */
  rest(): void {
    for (const channel of this.#all.slice(1)) channel.rest();
  }

  /**
   * Runs a request.
   *
   * @param what the request, in words that complete 'The broker refused to …'.
   */
  run<Result>(what: string, act: (channel: Channel) => Promise<Result>): Promise<Result> {
    return this.#all.reduce((least, next) => (next.asked < least.asked ? next : least)).run(what, act);
  }
}

// Runs one request at a time, because a refusal closes the channel and would fail the other requests on it.
class ControlChannel {
  readonly #connection: Connection;
  readonly #otherwise: ControlChannel | undefined;
  #channel: Promise<Channel> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** The number of requests that are not answered yet. */
  asked = 0;
  #isUsed = false;

  /** @param otherwise runs the requests if this channel cannot be opened, because others have taken what it had left. */
  constructor(connection: Connection, otherwise?: ControlChannel) {
    this.#connection = connection;
    this.#otherwise = otherwise;
  }

  async open(): Promise<void> {
    await this.#opened();
  }

  rest(): void {
    const isIdle = this.asked === 0 && !this.#isUsed;
    this.#isUsed = false;
    if (isIdle) this.#leave();
  }

  run<Result>(what: string, act: (channel: Channel) => Promise<Result>): Promise<Result> {
    this.asked += 1;
    this.#isUsed = true;
    const result = this.#last.then(() => this.#attempt(what, act));
    const answered = (): void => {
      this.asked -= 1;
    };
    this.#last = result.then(answered, answered);
    return result;
  }

  async #attempt<Result>(what: string, act: (channel: Channel) => Promise<Result>): Promise<Result> {
    try {
      return await this.#connection.answeredOrAlive(what, this.#opened().then(act));
    } catch (error) {
      this.#leave();
      if (this.#otherwise !== undefined && lacksChannel(error)) return this.#otherwise.run(what, act);
      throw isConfluoError(error) ? error : operationFailure(error, what);
    }
  }

  #leave(): void {
    const given = this.#channel;
    this.#channel = undefined;
    // Not awaited, because a channel that did not answer may not answer this either.
    given?.then((channel) => channel.close()).catch(() => undefined);
  }

  #opened(): Promise<Channel> {
    if (this.#channel !== undefined) return this.#channel;
    const opening = this.#connection.channel().then((channel) => {
      // An earlier channel may close after the next one was opened.
      channel.on("close", () => {
        if (this.#channel === opening) this.#channel = undefined;
      });
      return channel;
    });
    this.#channel = opening;
    return opening;
  }
}
