import { invalidArgument, show } from "../../errors.ts";
import { TopicMatcher } from "../../protocol/topics/topic-matcher.ts";
import type { ExchangeSpec, QueueArguments } from "../amqp-client.ts";
import type { Queue } from "./queue.ts";
import { assertEquivalent } from "./queue-arguments.ts";

/** How many routes a topic exchange caches between two changes of its bindings. */
const rememberedRoutes = 1024;
/** The limit on words `#` in a binding, as in RabbitMQ 4.3. Older versions accept more. */
const mostWildcards = 2;

/** A destination of a binding: a queue, or an exchange that routes further. */
type Bound = Queue | Exchange;

/** Finds the destinations for a key, in the way of one type of exchange. */
interface BindingRouter {
  add(key: string, bound: Bound): void;
  remove(key: string, bound: Bound): void;
  /** Returns the destinations for a key, each once. */
  route(key: string): readonly Bound[];
}

/** A named exchange and its bindings to queues and exchanges. */
export class Exchange {
  readonly name: string;
  readonly alternate: string | undefined;
  readonly #properties: QueueArguments;
  readonly #keysByBound = new Map<Bound, Set<string>>();
  /** True once an exchange was bound to this one. Then the destinations of a key are not all queues. */
  #hasExchanges = false;
  readonly #router: BindingRouter;

  constructor(spec: ExchangeSpec) {
    const alternate = spec.arguments?.["alternate-exchange"];
    this.name = spec.name;
    this.alternate = typeof alternate === "string" ? alternate : undefined;
    this.#properties = { ...spec.arguments, type: spec.type };
    this.#router = newRouter(spec.type);
  }

  assertEquivalent(spec: ExchangeSpec): void {
    const existing = { entity: "exchange", name: this.name, properties: this.#properties } as const;
    assertEquivalent(existing, { ...spec.arguments, type: spec.type });
  }

  bind(bound: Bound, key: string): void {
    const keys = this.#keysByBound.get(bound) ?? new Set();
    if (keys.has(key)) return;
    this.#router.add(key, bound);
    this.#keysByBound.set(bound, keys.add(key));
    if (bound instanceof Exchange) this.#hasExchanges = true;
  }

  unbind(bound: Bound, key: string): void {
    const keys = this.#keysByBound.get(bound);
    if (keys === undefined || !keys.delete(key)) return;
    if (keys.size === 0) this.#keysByBound.delete(bound);
    this.#router.remove(key, bound);
  }

  /** Removes all bindings of a queue that is gone. */
  forget(queue: Queue): void {
    for (const key of [...(this.#keysByBound.get(queue) ?? [])]) this.unbind(queue, key);
  }

  /**
   * Returns the queues for a key, each once: those that are bound to this exchange, and those of the exchanges bound to it.
   * `alternates` finds where a message goes that matches no binding of an exchange.
   */
  route(key: string, alternates: Alternates): readonly Queue[] {
    const bound = this.#router.route(key);
    if (!this.#hasExchanges && (bound.length > 0 || this.alternate === undefined))
      return bound as readonly Queue[];
    const queues = new Set<Queue>();
    this.#collect(key, { queues, seen: new Set(), alternates });
    return [...queues];
  }

  // Visits each exchange once, as RabbitMQ does, so that exchanges may be bound in a circle.
  #collect(key: string, found: Found): void {
    if (found.seen.has(this)) return;
    found.seen.add(this);
    const bound = this.#router.route(key);
    for (const each of bound.length > 0 ? bound : found.alternates(this, key)) {
      if (each instanceof Exchange) each.#collect(key, found);
      else found.queues.add(each);
    }
  }
}

/** The queues that a message is routed to, while they are collected. */
interface Found {
  readonly queues: Set<Queue>;
  readonly seen: Set<Exchange>;
  readonly alternates: Alternates;
}

/** Returns the destinations of the messages that match no binding of an exchange. */
type Alternates = (exchange: Exchange, key: string) => readonly Bound[];

function newRouter(type: ExchangeSpec["type"]): BindingRouter {
  switch (type) {
    case "direct":
      return new DirectRouter();
    case "fanout":
      return new FanoutRouter();
    case "topic":
      return new TopicRouter();
    default:
      throw new TypeError(`Unknown exchange type ${show(type satisfies never)}`);
  }
}

const nobody: readonly Bound[] = [];

class DirectRouter implements BindingRouter {
  readonly #boundByKey = new Map<string, readonly Bound[]>();

  add(key: string, bound: Bound): void {
    this.#boundByKey.set(key, [...this.route(key), bound]);
  }

  remove(key: string, bound: Bound): void {
    const left = this.route(key).filter((each) => each !== bound);
    if (left.length === 0) this.#boundByKey.delete(key);
    else this.#boundByKey.set(key, left);
  }

  route(key: string): readonly Bound[] {
    return this.#boundByKey.get(key) ?? nobody;
  }
}

class FanoutRouter implements BindingRouter {
  /** Contains a queue once for each of its bindings, so that a queue bound by two keys stays until both are removed. */
  readonly #bound: Bound[] = [];
  #destinations: readonly Bound[] = nobody;

  add(_key: string, bound: Bound): void {
    this.#bound.push(bound);
    this.#destinations = [...new Set(this.#bound)];
  }

  remove(_key: string, bound: Bound): void {
    this.#bound.splice(this.#bound.indexOf(bound), 1);
    this.#destinations = [...new Set(this.#bound)];
  }

  route(): readonly Bound[] {
    return this.#destinations;
  }
}

class TopicRouter implements BindingRouter {
  readonly #matcher = new TopicMatcher<Bound>();
  readonly #routes = new Map<string, readonly Bound[]>();

  add(key: string, bound: Bound): void {
    const wildcards = key.split(".").filter((word) => word === "#").length;
    if (wildcards > mostWildcards) {
      throw invalidArgument("a topic binding", `a pattern with at most ${mostWildcards} words "#"`, key);
    }
    this.#matcher.add(key, bound);
    this.#routes.clear();
  }

  remove(key: string, bound: Bound): void {
    this.#matcher.remove(key, bound);
    this.#routes.clear();
  }

  route(key: string): readonly Bound[] {
    const known = this.#routes.get(key);
    if (known !== undefined) return known;
    const found = this.#matcher.match(key);
    if (this.#routes.size >= rememberedRoutes) this.#routes.clear();
    this.#routes.set(key, found);
    return found;
  }
}
