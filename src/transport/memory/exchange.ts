import { invalidArgument, show } from "../../errors.ts";
import { TopicMatcher } from "../../protocol/topics/topic-matcher.ts";
import type { ExchangeSpec, QueueArguments } from "../amqp-client.ts";
import type { Queue } from "./queue.ts";
import { assertEquivalent } from "./queue-arguments.ts";

/** How many routes a topic exchange caches between two changes of its bindings. */
const rememberedRoutes = 1024;
/** The limit on words `#` in a binding, as in RabbitMQ 4.3. Older versions accept more. */
const mostWildcards = 2;

/** Finds the queues for a key, in the way of one type of exchange. */
interface BindingRouter {
  add(key: string, queue: Queue): void;
  remove(key: string, queue: Queue): void;
  /** Returns the queues for a key, each once. */
  route(key: string): readonly Queue[];
}

/** A named exchange and its bindings to queues. */
export class Exchange {
  readonly name: string;
  readonly alternate: string | undefined;
  readonly #properties: QueueArguments;
  readonly #keysByQueue = new Map<Queue, Set<string>>();
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

  bind(queue: Queue, key: string): void {
    const keys = this.#keysByQueue.get(queue) ?? new Set();
    if (keys.has(key)) return;
    this.#router.add(key, queue);
    this.#keysByQueue.set(queue, keys.add(key));
  }

  unbind(queue: Queue, key: string): void {
    const keys = this.#keysByQueue.get(queue);
    if (keys === undefined || !keys.delete(key)) return;
    if (keys.size === 0) this.#keysByQueue.delete(queue);
    this.#router.remove(key, queue);
  }

  /** Removes all bindings of a queue that is gone. */
  forget(queue: Queue): void {
    for (const key of [...(this.#keysByQueue.get(queue) ?? [])]) this.unbind(queue, key);
  }

  route(key: string): readonly Queue[] {
    return this.#router.route(key);
  }
}

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

const nobody: readonly Queue[] = [];

class DirectRouter implements BindingRouter {
  readonly #queuesByKey = new Map<string, readonly Queue[]>();

  add(key: string, queue: Queue): void {
    this.#queuesByKey.set(key, [...this.route(key), queue]);
  }

  remove(key: string, queue: Queue): void {
    const left = this.route(key).filter((bound) => bound !== queue);
    if (left.length === 0) this.#queuesByKey.delete(key);
    else this.#queuesByKey.set(key, left);
  }

  route(key: string): readonly Queue[] {
    return this.#queuesByKey.get(key) ?? nobody;
  }
}

class FanoutRouter implements BindingRouter {
  /** Contains a queue once for each of its bindings, so that a queue bound by two keys stays until both are removed. */
  readonly #bound: Queue[] = [];
  #queues: readonly Queue[] = nobody;

  add(_key: string, queue: Queue): void {
    this.#bound.push(queue);
    this.#queues = [...new Set(this.#bound)];
  }

  remove(_key: string, queue: Queue): void {
    this.#bound.splice(this.#bound.indexOf(queue), 1);
    this.#queues = [...new Set(this.#bound)];
  }

  route(): readonly Queue[] {
    return this.#queues;
  }
}

class TopicRouter implements BindingRouter {
  readonly #matcher = new TopicMatcher<Queue>();
  readonly #routes = new Map<string, readonly Queue[]>();

  add(key: string, queue: Queue): void {
    const wildcards = key.split(".").filter((word) => word === "#").length;
    if (wildcards > mostWildcards) {
      throw invalidArgument("a topic binding", `a pattern with at most ${mostWildcards} words "#"`, key);
    }
    this.#matcher.add(key, queue);
    this.#routes.clear();
  }

  remove(key: string, queue: Queue): void {
    this.#matcher.remove(key, queue);
    this.#routes.clear();
  }

  route(key: string): readonly Queue[] {
    const known = this.#routes.get(key);
    if (known !== undefined) return known;
    const queues = this.#matcher.match(key);
    if (this.#routes.size >= rememberedRoutes) this.#routes.clear();
    this.#routes.set(key, queues);
    return queues;
  }
}
