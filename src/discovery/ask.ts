/** Asks the instances of a namespace a question, and collects their answers. */

import { afterMs, onAbort } from "../async/abort.ts";
import { ConfluoError, invalidArgument, isConfluoError } from "../errors.ts";
import { checkOptions, type OptionNames, readWaitOptions, type WaitOptions } from "../options/checks.ts";
import { checkName } from "../protocol/address.ts";
import {
  type Answers,
  addressee,
  decodeAnswer,
  encodeQuestion,
  IDENTITY,
  type InstanceName,
  type Question,
} from "../protocol/discovery/instance-answer.ts";
import { type Namespace, REPLIES_ARGUMENTS } from "../protocol/topology.ts";
import type { AmqpClient } from "../transport/amqp-client.ts";
import { withClient } from "../transport/short-session.ts";

/** The instances to ask. */
export interface DiscoverOptions extends WaitOptions {
  /** Default: all services of the namespace. */
  readonly service?: string | undefined;
  /** One instance of that service. Default: all of them. */
  readonly instance?: string | undefined;
}

/** An instance that answered, and its round-trip time in milliseconds. */
export interface Ping {
  readonly service: string;
  readonly instance: string;
  readonly ms: number;
}

const discoverOptions: OptionNames<DiscoverOptions> = {
  service: true,
  instance: true,
  timeoutMs: true,
  signal: true,
};

/** Access to the broker. */
export interface AskParts {
  readonly namespace: Namespace;
  open(signal: AbortSignal): Promise<AmqpClient>;
  newId(): string;
}

const TIMEOUT_MS = 20_000;
/** The question ends when no instance has answered for this time. An instance whose event loop is busy answers late. */
const QUIET_MS = 250;
/**
 * The limits for the first answer, after the broker has taken the question, and for everything together. A broker takes long
 * for a question to thousands of instances.
 */
const FIRST_MS = 1_000;
const LAST_MS = 5_000;

/** An answer, and the time between the question and its arrival, in milliseconds. */
export interface Heard<Answer> {
  readonly answer: Answer;
  readonly ms: number;
}

/**
 * Asks a question and passes the answers, even if there are none, to `more` with the same client. Resolves with its result.
 *
 * @throws `INVALID_ARGUMENT`, and the errors of a failed connection.
 */
export async function ask<Q extends Question, Result>(
  { namespace, open, newId }: AskParts,
  question: Q,
  options: DiscoverOptions | undefined,
  more: (client: AmqpClient, heard: readonly Heard<Answers[Q]>[]) => Promise<Result>,
): Promise<Result> {
  const { service, instance, ...waiting } = checkOptions("discovery", options, discoverOptions);
  if (service !== undefined) checkName(service, "service");
  if (instance !== undefined) {
    if (service === undefined) throw invalidArgument("service", "given together with an instance", service);
    if (typeof instance !== "string" || !IDENTITY.test(instance))
      throw invalidArgument("instance", "the identity of an instance", instance);
  }
  const limits = readWaitOptions("discovery", waiting, TIMEOUT_MS);
  const what = `the instances of ${service ?? "all services"} to answer`;
  return withClient({ ...limits, what }, open, async (client, signal) => {
    // The exchange is not declared here, because it would remain in a namespace that nobody uses.
    if (!(await mayBeThere(client, namespace.discovery))) return more(client, []);
    const heard = new Hearing<Answers[Q]>();
    const replyTo = await client.declareQueue({ name: "", exclusive: true, arguments: REPLIES_ARGUMENTS });
    const id = newId();
    await client.consume({
      queue: replyTo,
      prefetch: "no-ack",
      onDelivery: ({ message }) => {
        if (message.properties.correlationId !== id) return;
        try {
          heard.add(decodeAnswer(question, message));
        } catch {
          // Ignores an answer from another program that does not follow the protocol.
        }
      },
      onCancelled: () => heard.end(),
    });
    heard.begin(instance === undefined ? Number.POSITIVE_INFINITY : 1, () => client.blocked !== undefined);
    const route = { exchange: namespace.discovery, key: addressee(service, instance) };
    let isAsked = false;
    client.publish(route, encodeQuestion(question, { id, replyTo, ms: LAST_MS }), (failure) => {
      // A returned question means that no instance is there to receive it.
      isAsked = failure === undefined || failure === "returned";
      if (failure === undefined) heard.asked();
      else heard.end();
    });
    const leave = onAbort(signal, () => heard.end());
    const answers = await heard.all;
    leave();
    // Answers may have been lost with the connection.
    signal.throwIfAborted();
    if (!isAsked && answers.length === 0) {
      const why =
        client.blocked ??
        `it gives no reason; the user may lack the right to write to ${namespace.discovery}`;
      throw new ConfluoError(
        "UNAVAILABLE",
        `The broker does not accept the question to the instances: ${why}.`,
      );
    }
    return more(client, answers);
  });
}

/** Returns whether an exchange exists. If the broker does not let this user check, returns true. */
export async function mayBeThere(client: AmqpClient, exchange: string): Promise<boolean> {
  try {
    return await client.hasExchange(exchange);
  } catch (error) {
    if (isConfluoError(error, "ACCESS_REFUSED")) return true;
    throw error;
  }
}

class Hearing<Answer extends InstanceName> {
  readonly all: Promise<readonly Heard<Answer>[]>;
  readonly #heard = new Map<string, Heard<Answer>>();
  #resolve: (heard: readonly Heard<Answer>[]) => void = () => undefined;
  #began = 0;
  #most = 0;
  #stopQuiet: () => void = () => undefined;
  #stopLast: () => void = () => undefined;

  constructor() {
    this.all = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** @param isBlocked returns whether the broker takes no messages, so that waiting for it to take the question is no use. */
  begin(most: number, isBlocked: () => boolean): void {
    this.#most = most;
    this.#began = performance.now();
    this.#stopQuiet = afterMs(FIRST_MS, () => {
      if (isBlocked()) this.end();
    });
    this.#stopLast = afterMs(LAST_MS, this.end);
  }

  /** Notes that the broker has taken the question. */
  asked(): void {
    if (this.#heard.size > 0) return;
    this.#stopQuiet();
    this.#stopQuiet = afterMs(FIRST_MS, this.end);
  }

  add(answer: Answer): void {
    const ms = performance.now() - this.#began;
    this.#heard.set(`${answer.service} ${answer.instance}`, { answer, ms });
    this.#stopQuiet();
    if (this.#heard.size >= this.#most) this.end();
    else this.#stopQuiet = afterMs(QUIET_MS, this.end);
  }

  readonly end = (): void => {
    this.#stopQuiet();
    this.#stopLast();
    this.#resolve([...this.#heard.values()].sort((a, b) => compare(a.answer, b.answer)));
  };
}

function compare(a: InstanceName, b: InstanceName): number {
  const [one, other] = [`${a.service} ${a.instance}`, `${b.service} ${b.instance}`];
  return one < other ? -1 : one > other ? 1 : 0;
}
