/** Declaring, binding, inspecting and deleting: what a connection asks of its broker beside messages. */

import type { Channel } from "amqplib";
import { isConfluoError } from "../../errors.ts";
import type { Connection } from "./connection.ts";
import { operationFailure } from "./failure.ts";

/** Enough that what is asked together does not wait for an answer each, few enough for a broker with thousands of clients. */
const CHANNELS = 4;

/** Some channels, opened as they are needed. What is asked while they are all busy waits for the one with the least to do. */
export class ManagementChannels {
  readonly #all: readonly ControlChannel[];

  constructor(connection: Connection) {
    this.#all = Array.from({ length: CHANNELS }, () => new ControlChannel(connection));
  }

  /** @param what in words that follow 'The broker refused to'. */
  run<Result>(what: string, act: (channel: Channel) => Promise<Result>): Promise<Result> {
    return this.#all.reduce((least, next) => (next.asked < least.asked ? next : least)).run(what, act);
  }
}

// One at a time: a refusal closes the channel, and would take innocent operations with it.
class ControlChannel {
  readonly #connection: Connection;
  #channel: Promise<Channel> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** The requests that are not answered yet. */
  asked = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  run<Result>(what: string, act: (channel: Channel) => Promise<Result>): Promise<Result> {
    this.asked += 1;
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
      const given = this.#channel;
      this.#channel = undefined;
      // A channel that did not answer may answer to this, or not: nobody waits for it.
      given?.then((channel) => channel.close()).catch(() => undefined);
      throw isConfluoError(error) ? error : operationFailure(error, what);
    }
  }

  #opened(): Promise<Channel> {
    if (this.#channel !== undefined) return this.#channel;
    const opening = this.#connection.channel().then((channel) => {
      // A channel that did not answer may be closed when the next is open already.
      channel.on("close", () => {
        if (this.#channel === opening) this.#channel = undefined;
      });
      return channel;
    });
    this.#channel = opening;
    return opening;
  }
}
