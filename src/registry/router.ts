/** Finds the route that handles a command's path. The cost depends on the path's length, not on the number of routes. */

import { ConfluoError, invalidArgument, show } from "../errors.ts";
import { isParameter, withSlash } from "../protocol/address.ts";

/** A route, and the values of its parameters in a path. */
export interface FoundRoute<Route> {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

interface Leaf<Route> {
  readonly route: Route;
  readonly names: readonly string[];
}

class Node<Route> {
  readonly literals = new Map<string, Node<Route>>();
  parameter: Node<Route> | undefined;
  leaf: Leaf<Route> | undefined;
}

const noParams: Readonly<Record<string, string>> = Object.freeze({});

/** Routes by pattern. A literal segment wins over a parameter. */
export class Router<Route> {
  readonly #root = new Node<Route>();
  readonly #literal = new Map<string, FoundRoute<Route>>();
  readonly #all = new Map<string, Route>();

  /** @throws `ALREADY_REGISTERED`, also for a pattern that differs only in the names of its parameters; `INVALID_ARGUMENT`. */
  add(pattern: string, route: Route): void {
    const segments = segmentsOf(pattern);
    const names: string[] = [];
    let node = this.#root;
    for (const segment of segments) {
      if (isParameter(segment)) {
        const name = segment.slice(1);
        if (names.includes(name))
          throw invalidArgument("A route's parameters", "of different names", pattern);
        names.push(name);
        node.parameter ??= new Node();
        node = node.parameter;
      } else {
        let next = node.literals.get(segment);
        if (next === undefined) {
          next = new Node();
          node.literals.set(segment, next);
        }
        node = next;
      }
    }
    if (node.leaf !== undefined) {
      throw new ConfluoError(
        "ALREADY_REGISTERED",
        `The path ${show(pattern)} has a route already: a path has one handler.`,
      );
    }
    node.leaf = { route, names };
    this.#all.set(withSlash(pattern), route);
    if (names.length === 0) this.#literal.set(withSlash(pattern), { route, params: noParams });
  }

  remove(pattern: string): void {
    this.#literal.delete(withSlash(pattern));
    this.#all.delete(withSlash(pattern));
    let node: Node<Route> | undefined = this.#root;
    for (const segment of segmentsOf(pattern)) {
      node = isParameter(segment) ? node?.parameter : node?.literals.get(segment);
    }
    if (node !== undefined) node.leaf = undefined;
  }

  /** Returns all routes, by pattern with a leading slash. */
  list(): readonly { readonly pattern: string; readonly route: Route }[] {
    return [...this.#all].map(([pattern, route]) => ({ pattern, route }));
  }

  /** Returns the route of a path that has a leading slash. */
  find(path: string): FoundRoute<Route> | undefined {
    const literal = this.#literal.get(path);
    if (literal !== undefined) return literal;
    const values: string[] = [];
    const leaf = descend(this.#root, path.slice(1).split("/"), 0, values);
    if (leaf === undefined) return undefined;
    return {
      route: leaf.route,
      params: Object.fromEntries(leaf.names.map((name, i) => [name, values[i] ?? ""])),
    };
  }
}

function segmentsOf(pattern: string): string[] {
  const segments = withSlash(pattern).slice(1).split("/");
  const wildcard = segments.find((segment) => segment === "*" || segment === "#");
  if (wildcard !== undefined) {
    throw invalidArgument(
      "A route",
      `a path with parameters such as /orders/:id, without ${wildcard}`,
      pattern,
    );
  }
  return segments;
}

// Tries the literal segment first, and the parameter if the literal leads to no route. An empty segment does not match a
// parameter.
function descend<Route>(
  node: Node<Route>,
  segments: readonly string[],
  at: number,
  values: string[],
): Leaf<Route> | undefined {
  const segment = segments[at];
  if (segment === undefined) return node.leaf;
  const literal = node.literals.get(segment);
  const found = literal === undefined ? undefined : descend(literal, segments, at + 1, values);
  if (found !== undefined || node.parameter === undefined || segment === "") return found;
  values.push(segment);
  const below = descend(node.parameter, segments, at + 1, values);
  if (below === undefined) values.pop();
  return below;
}
