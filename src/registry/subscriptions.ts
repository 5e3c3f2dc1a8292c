/** Finds the subscriptions that match an event. */

import { ConfluoError, invalidArgument, show } from "../errors.ts";
import { bindingKey, isParameter, withSlash } from "../protocol/address.ts";
import { TopicMatcher } from "../protocol/topics/topic-matcher.ts";

/** The instances that get an event: one instance of the service, or each of its instances. */
export type Per = "service" | "instance";

/** One subscription of a service. */
export interface Subscription<Handler> {
  /** With a leading slash. A dead letter names its subscription by it. */
  readonly pattern: string;
  readonly key: string;
  readonly per: Per;
  readonly handler: Handler;
  readonly parameters: readonly Parameter[];
}

/** A `:name` segment of a pattern. */
interface Parameter {
  readonly name: string;
  /** Index of the segment that is its value; negative if counted from the end. */
  readonly at: number;
}

/** Subscriptions by pattern. The cost of a lookup does not grow with their number. */
export class Subscriptions<Handler> {
  /** Subscriptions with wildcards or parameters. */
  readonly #matchers: Readonly<Record<Per, TopicMatcher<Subscription<Handler>>>> = {
    service: new TopicMatcher(),
    instance: new TopicMatcher(),
  };
  readonly #patterns: Record<Per, number> = { service: 0, instance: 0 };
  /** Subscriptions that match exactly one key, by {@link idOf}. */
  readonly #literal = new Map<string, readonly [Subscription<Handler>]>();
  readonly #all = new Map<string, Subscription<Handler>>();
  /** The same as {@link #all}, by pattern instead of key. */
  readonly #named = new Map<string, Subscription<Handler>>();

  /** @throws `ALREADY_REGISTERED`, also for a pattern that differs only in the names of its parameters; `INVALID_ARGUMENT`. */
  add(pattern: string, per: Per, handler: Handler): Subscription<Handler> {
    checkParameters(pattern);
    const key = bindingKey(pattern);
    const slashed = withSlash(pattern);
    const subscription = { pattern: slashed, key, per, handler, parameters: parametersOf(slashed) };
    const id = idOf(per, key);
    const before = this.#all.get(id);
    if (before !== undefined) {
      const same = before.pattern === slashed ? "" : `, which matches the same as ${show(pattern)}`;
      throw new ConfluoError(
        "ALREADY_REGISTERED",
        `This service has subscribed to ${show(before.pattern)} already${same}: a pattern has one handler.`,
      );
    }
    this.#all.set(id, subscription);
    this.#named.set(idOf(per, slashed), subscription);
    if (isPattern(key)) {
      this.#matchers[per].add(key, subscription);
      this.#patterns[per] += 1;
    } else this.#literal.set(id, [subscription]);
    return subscription;
  }

  remove({ key, per }: Subscription<Handler>): void {
    const id = idOf(per, key);
    const present = this.#all.get(id);
    if (present === undefined) return;
    this.#all.delete(id);
    this.#named.delete(idOf(per, present.pattern));
    if (this.#literal.delete(id)) return;
    this.#matchers[per].remove(key, present);
    this.#patterns[per] -= 1;
  }

  /**
   * Returns the subscription with a pattern. If there is none, it compares the routing keys, because a new version of the
   * service may have renamed a parameter. Returns `undefined` for a text from a foreign sender that is not a valid pattern.
   */
  find(pattern: string, per: Per): Subscription<Handler> | undefined {
    const named = this.#named.get(idOf(per, pattern));
    if (named !== undefined) return named;
    try {
      return this.#all.get(idOf(per, bindingKey(pattern)));
    } catch {
      return undefined;
    }
  }

  /** Returns the subscriptions that match the routing key of a path. */
  match(key: string, per: Per): readonly Subscription<Handler>[] {
    const literal = this.#literal.get(idOf(per, key)) ?? none;
    if (this.#patterns[per] === 0) return literal;
    const matching = this.#matchers[per].match(key);
    return literal.length === 0 ? matching : [...literal, ...matching];
  }

  /** Returns all subscriptions. */
  list(): readonly Subscription<Handler>[] {
    return [...this.#all.values()];
  }
}

const none: readonly [] = [];

function idOf(per: Per, key: string): string {
  return `${per} ${key}`;
}

function isPattern(key: string): boolean {
  return key.split(".").some((word) => word === "*" || word === "#");
}

// Between two `#`, the position of a parameter would be ambiguous.
function checkParameters(pattern: string): void {
  const segments = pattern.split("/");
  const names = segments.filter((segment) => segment.startsWith(":"));
  if (new Set(names).size < names.length)
    throw invalidArgument("A pattern's parameters", "of different names", pattern);
  const between = segments.slice(segments.indexOf("#"), segments.lastIndexOf("#"));
  if (between.some((segment) => segment.startsWith(":")))
    throw invalidArgument("A pattern", "one without parameters between two #", pattern);
}

/** Returns the positions of the `:name` segments of a pattern that has a leading slash. */
function parametersOf(pattern: string): readonly Parameter[] {
  const segments = pattern.split("/");
  const rest = segments.indexOf("#");
  const found: Parameter[] = [];
  for (const [i, segment] of segments.entries()) {
    // A `#` stands for any number of segments, so parameters behind it are counted from the end.
    const at = rest !== -1 && i > rest ? i - segments.length : i;
    if (isParameter(segment)) found.push({ name: segment.slice(1), at });
  }
  return found;
}

/** Returns the values of a subscription's parameters in a matching path that has a leading slash. */
export function eventParams(
  parameters: Subscription<unknown>["parameters"],
  path: string,
): Readonly<Record<string, string>> {
  if (parameters.length === 0) return noParams;
  const segments = path.split("/");
  return Object.fromEntries(parameters.map(({ name, at }) => [name, segments.at(at) ?? ""]));
}

const noParams: Readonly<Record<string, string>> = Object.freeze({});
