/**
 * Reads facts that only RabbitMQ's management plugin knows (https://www.rabbitmq.com/docs/management#http-api), such as the
 * list of queues and bindings.
 */

import { ConfluoError, isConfluoError } from "../../index.ts";
import type { Binding, FeatureFlag } from "./checks.ts";
import { queueState, type WatchedQueue } from "./delays.ts";
import { type QueuePolicy, queuePolicy } from "./policies.ts";

/** Client of the HTTP API at a URL such as `http://guest:guest@localhost:15672/vhost`; without a path, the vhost is `/`. */
export class Management {
  readonly #base: string;
  readonly #vhost: string;
  readonly #authorization: string | undefined;
  readonly #signal: AbortSignal;

  /** @throws `INVALID_ARGUMENT`. */
  constructor(address: string, signal: AbortSignal) {
    if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol))
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        "--management must be an http:// or https:// URL, such as http://localhost:15672.",
      );
    const { origin, pathname, username, password } = new URL(address);
    const login = `${decoded(username)}:${decoded(password)}`;
    this.#base = `${origin}/api`;
    this.#vhost = encodeURIComponent(decoded(pathname.slice(1)) || "/");
    this.#authorization = username === "" ? undefined : `Basic ${Buffer.from(login).toString("base64")}`;
    this.#signal = signal;
  }

  /** Returns the services of a namespace that have an inbox. */
  async services(namespace: string): Promise<readonly string[]> {
    const queues = await this.#get(`/queues/${this.#vhost}?columns=name`);
    return queues.flatMap(({ name }) => serviceOf(namespace, name) ?? []);
  }

  /** Returns the queues of a namespace. The figures are up to five seconds old. */
  async queues(namespace: string): Promise<readonly WatchedQueue[]> {
    const columns =
      "name,type,state,messages,messages_ready,messages_unacknowledged,message_bytes,members,online,policy,operator_policy,effective_policy_definition";
    const queues = await this.#get(`/queues/${this.#vhost}?columns=${columns}`);
    return queues.flatMap((each) => queueState(namespace, each) ?? []);
  }

  /** Returns the queues of a namespace that a policy applies to. */
  async policies(namespace: string): Promise<readonly QueuePolicy[]> {
    const columns = "name,policy,operator_policy,effective_policy_definition";
    const queues = await this.#get(`/queues/${this.#vhost}?columns=${columns}`);
    return queues.flatMap((each) => queuePolicy(namespace, each) ?? []);
  }

  /** Returns the bindings between the events of a namespace and its inboxes. */
  async bindings(namespace: string): Promise<readonly Binding[]> {
    const events = encodeURIComponent(`${namespace}.events`);
    const bindings = await this.#get(`/exchanges/${this.#vhost}/${events}/bindings/source`);
    return bindings.flatMap(({ destination, routing_key: key }) => {
      const service = serviceOf(namespace, destination);
      return service === undefined || typeof key !== "string" ? [] : [{ service, key }];
    });
  }

  /** Returns the broker's feature flags; `undefined` if this user may not see them. */
  async featureFlags(): Promise<readonly FeatureFlag[] | undefined> {
    try {
      const flags = await this.#get("/feature-flags");
      return flags.map(({ name, state, stability }) => ({
        name: String(name),
        isEnabled: state === "enabled",
        isStable: stability === "stable" || stability === "required",
      }));
    } catch (error) {
      if (isConfluoError(error, "ACCESS_REFUSED")) return undefined;
      throw error;
    }
  }

  async #get(path: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const headers = this.#authorization === undefined ? {} : { authorization: this.#authorization };
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(10_000)]);
    let response: Response;
    try {
      response = await fetch(this.#base + path, { headers, signal });
    } catch (cause) {
      const { message } = ((cause as Error).cause ?? cause) as Error;
      throw new ConfluoError(
        "BROKER_UNREACHABLE",
        `RabbitMQ's management does not answer at ${this.#base}: ${message}.`,
        { cause },
      );
    }
    if (!response.ok)
      throw new ConfluoError(
        "ACCESS_REFUSED",
        `RabbitMQ's management answers ${path} with ${response.status}.`,
      );
    const found: unknown = await response.json().catch(() => undefined);
    if (found === undefined)
      throw new ConfluoError(
        "BROKER_UNREACHABLE",
        `The server at ${this.#base} is not RabbitMQ's management.`,
      );
    return Array.isArray(found) ? (found as Readonly<Record<string, unknown>>[]) : [];
  }
}

// A percent sign that does not begin an escape stays as it is.
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function serviceOf(namespace: string, queue: unknown): string | undefined {
  if (typeof queue !== "string" || !queue.startsWith(`${namespace}.`) || !queue.endsWith(".inbox"))
    return undefined;
  const service = queue.slice(namespace.length + 1, -".inbox".length);
  return service.includes(".") ? undefined : service;
}
