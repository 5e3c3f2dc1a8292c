/** Which subscriptions an event is for. */

import { ConfluoError, invalidArgument, show } from "../errors.ts";
import { bindingKey, isParameter, withSlash } from "../protocol/address.ts";
import { TopicMatcher } from "../protocol/topics/topic-matcher.ts";

/** The receivers of a copy of an event: one instance of a service, or each. */
export type Per = "service" | "instance";

/** One subscription of a service. */
export interface Subscription<Handler> {
  /** With a leading slash; names the subscription in dead letters. */
  readonly pattern: string;
  readonly key: string;
  readonly per: Per;
  readonly handler: Handler;
  readonly parameters: readonly Parameter[];
}

/** A `:name` segment of a pattern. */
interface Parameter {
  readonly name: string;
  /** Which segment of a path is its value; below 0 if that is counted from the end. */
  readonly at: number;
}

/** Subscriptions by pattern. The cost of a look-up does not grow with their number. */
export class Subscriptions<Handler> {
  /** Subscriptions with wildcards or parameters. */
  readonly #matchers: Readonly<Record<Per, TopicMatcher<Subscription<Handler>>>> = {
    service: new TopicMatcher(),
    instance: new TopicMatcher(),
  };
  readonly #patterns: Record<Per, number> = { service: 0, instance: 0 };
  /** The others match one key each. By {@link idOf}. */
  readonly #literal = new Map<string, readonly [Subscription<Handler>]>();
  readonly #all = new Map<string, Subscription<Handler>>();
  /** As {@link #all}, by pattern. */
  readonly #named = new Map<string, Subscription<Handler>>();

  /** @throws `ALREADY_REGISTERED`, also for a pattern that differs in its parameters' names only; `INVALID_ARGUMENT`. */
  add(pattern: string, per: Per, handler: Handler): Subscription<Handler> {
    checkParameters(pattern);
    const key = bindingKey(pattern);
    const slashed = withSlash(pattern);
    const subscription = { pattern: slashed, key, per, handler, parameters: parametersOf(slashed) };
    const id = idOf(per, key);
    if (this.#all.has(id)) {
      throw new ConfluoError(
        "ALREADY_REGISTERED",
        `This service has subscribed to ${show(pattern)} already: a pattern has one handler.`,
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
   * Returns the subscription that a pattern names. By its key if there is none by that name: a new version may have renamed a
   * parameter. What a foreign sender wrote may be no pattern, and names none.
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

  /** All of them. */
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

// Between two #, no one could say which segment a parameter is.
function checkParameters(pattern: string): void {
  const segments = pattern.split("/");
  const names = segments.filter((segment) => segment.startsWith(":"));
  if (new Set(names).size < names.length)
    throw invalidArgument("A pattern's parameters", "of different names", pattern);
  const between = segments.slice(segments.indexOf("#"), segments.lastIndexOf("#"));
  if (between.some((segment) => segment.startsWith(":")))
    throw invalidArgument("A pattern", "one without parameters between two #", pattern);
}

/** Says where the `:name` segments of a pattern are, which has a leading slash. */
function parametersOf(pattern: string): readonly Parameter[] {
  const segments = pattern.split("/");
  const rest = segments.indexOf("#");
  const found: Parameter[] = [];
  for (const [i, segment] of segments.entries()) {
    // A `#` stands for any number of segments: parameters behind it are counted from the end.
    const at = rest !== -1 && i > rest ? i - segments.length : i;
    if (isParameter(segment)) found.push({ name: segment.slice(1), at });
  }
  return found;
}

/** Returns the values of a subscription's parameters in a path that it matches, which has a leading slash. */
export function eventParams(
  parameters: Subscription<unknown>["parameters"],
  path: string,
): Readonly<Record<string, string>> {
  if (parameters.length === 0) return noParams;
  const segments = path.split("/");
  return Object.fromEntries(parameters.map(({ name, at }) => [name, segments.at(at) ?? ""]));
}

const noParams: Readonly<Record<string, string>> = Object.freeze({});
