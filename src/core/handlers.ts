/** Finding a handler for a message and running it, for calls, one-way commands and events alike. */

import type { AnySchema } from "../contract/schema.ts";
import { ConfluoError, show } from "../errors.ts";
import { bindingKey, eventKey } from "../protocol/address.ts";
import { decodeBody, malformed } from "../protocol/codec.ts";
import type { Origin } from "../protocol/origin.ts";
import type { Delivery } from "../transport/transport.ts";
import { isHandlerReply, noHeaders, type Reply } from "./context.ts";
import { HandlerContext } from "./handler-context.ts";
import type { Run } from "./handler-runs.ts";
import { runThrough } from "./middleware.ts";
import type { CommandEntry, EventEntry, Registered, Registry } from "./registry.ts";
import type { Found } from "./router.ts";
import { eventParams, type Subscription } from "./subscriptions.ts";
import { validated } from "./validation.ts";

/** The handlers of one service. */
export class Handlers {
  readonly #service: string;
  readonly #registry: Registry;

  constructor(service: string, registry: Registry) {
    this.#service = service;
    this.#registry = registry;
  }

  /** @throws `NO_SUCH_ROUTE`; `MALFORMED_MESSAGE` for a command without its path. */
  route({ path }: Origin): Found<CommandEntry> {
    if (path === "")
      throw malformed("it is a command without its path, which belongs into the property type");
    const found = this.#registry.routes.find(path);
    if (found !== undefined) return found;
    throw new ConfluoError("NO_SUCH_ROUTE", `${this.#service} has no route for ${show(path)}.`);
  }

  /** Whether there is a route. */
  hasRoute({ path }: Origin): boolean {
    return path !== "" && this.#registry.routes.find(path) !== undefined;
  }

  /** The subscriptions that an event is for: all that match or, of one published again, the one that it names. */
  subscribed({ lane, origin }: Delivery): readonly Subscription<EventEntry>[] {
    const per = lane === "instance" ? "instance" : "service";
    const matching = this.#registry.subscriptions.match(keyOf(origin.path), per);
    if (origin.subscription === undefined) return matching;
    const only = bindingKeyOf(origin.subscription);
    return matching.filter(({ key }) => key === only);
  }

  /** Runs a route's handler. @throws what is wrong with the input, and what the handler throws. */
  async command(delivery: Delivery, found: Found<CommandEntry>, run: Run): Promise<Reply> {
    return this.handle(found.route, await this.prepare(delivery, found, run));
  }

  /** Runs a subscription's handler. @throws what is wrong with the body, and what the handler throws. */
  async event(delivery: Delivery, { pattern, handler }: Subscription<EventEntry>, run: Run): Promise<Reply> {
    const { path } = delivery.origin;
    const body = await received(delivery, handler.contract?.body, `The body of ${path}`);
    const context = new HandlerContext(delivery, eventParams(pattern, path), body);
    run.enter(context);
    return this.handle(handler, context);
  }

  /** The context for a route's handler. @throws `INVALID_INPUT`, `MALFORMED_MESSAGE`. */
  async prepare(delivery: Delivery, found: Found<CommandEntry>, run: Run): Promise<HandlerContext> {
    const { route, params } = found;
    const body = await received(delivery, route.contract?.input, `The input of ${delivery.origin.path}`);
    const context = new HandlerContext(delivery, params, body);
    run.enter(context);
    return context;
  }

  /** Runs a handler inside the service's middleware. */
  handle(entry: Registered<unknown>, context: HandlerContext): Promise<Reply> {
    const { middleware } = this.#registry;
    const handler = async (): Promise<Reply> => {
      const result = await entry.handler(context);
      return isHandlerReply(result) ? result : { status: 200, headers: noHeaders, body: result };
    };
    return middleware.length === 0 ? handler() : runThrough(middleware, context, handler);
  }
}

async function received(delivery: Delivery, schema: AnySchema | undefined, what: string): Promise<unknown> {
  return validated(schema, decodeBody(delivery.message), "INVALID_INPUT", what);
}

// Subscriptions match keys and contexts show paths. A foreign key may be one that no path of ours would give.
function keyOf(path: string): string {
  try {
    return eventKey(path);
  } catch {
    return path.slice(1).replaceAll("/", ".");
  }
}

// By key, not by pattern: a new version may have renamed a parameter. What a foreign sender wrote may be no pattern.
function bindingKeyOf(pattern: string): string | undefined {
  try {
    return bindingKey(pattern);
  } catch {
    return undefined;
  }
}
