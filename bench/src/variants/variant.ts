/** Who is measured. */

import type { Case } from "../case.ts";

/** What every message carries: about as many bytes as the case says. */
export interface Body {
  readonly id: number;
  readonly text: string;
}

/** What the programs of one measurement have in common. */
export interface Surroundings {
  /** The broker's URL. */
  readonly broker: string;
  /** In no other measurement: for the names of queues and exchanges. */
  readonly name: string;
  readonly case: Case;
}

/** What a handler does. What it returns is the answer, if one is wanted. */
export type Handler = (body: Body) => Body | Promise<Body>;

export interface Closable {
  close(): Promise<void>;
}

/** The side that sends. */
export interface Requester extends Closable {
  /** Resolves with the answer. */
  call(body: Body): Promise<Body>;
  /** Resolves when the broker has confirmed, if this variant can tell. */
  publish(body: Body): Promise<void>;
  /** The same. */
  send(body: Body): Promise<void>;
}

/** One way to write the same programs. What a variant does not have is left out: then it has no row in that case. */
export interface Variant {
  readonly title: string;
  /** Settings that are not its defaults. */
  readonly settings: string;
  /** The kinds of load that it can carry. */
  readonly loads: readonly Case["load"]["kind"][];
  /** A server that it needs besides RabbitMQ; its URL is then in the environment, in `CONFLUO_BENCH_NATS`. */
  readonly needs?: "nats";
  /** Whether it does this case, of those that its `loads` allow. Default: it does them all. */
  supports?(measured: Case): boolean;
  /** Handles calls, one-way commands or events, as the case says. Resolves when it is ready. */
  handle(surroundings: Surroundings, service: string, handler: Handler): Promise<Closable>;
  request(surroundings: Surroundings): Promise<Requester>;
}

/** For what a variant cannot do and is not asked to, by its `loads`. */
export function unsupported(): Promise<never> {
  return Promise.reject(new Error("This variant cannot do that."));
}

/** For `supports`: whether a case is without what only some have, routes besides and schemas. */
export function isPlain({ beside, schema }: Case): boolean {
  return beside === 0 && !schema;
}

/** A library with its defaults, beside the same at its best: a few cases show what the defaults cost. */
export function asItComes(variant: Variant): Variant {
  return { ...variant, supports: (measured) => measured.quick && isPlain(measured) };
}
