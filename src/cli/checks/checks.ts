/** Makes findings about a broker and its services, with advice. The functions are pure: all facts are arguments. */

import type { ConfluoError, InstanceInfo, ServerInfo, ServiceStats } from "../../index.ts";

/** The result of one check. */
export interface Finding {
  readonly level: "ok" | "warning" | "problem";
  readonly what: string;
  /** Advice on what to do; empty if nothing is to be done. */
  readonly todo: string;
}

export function ok(what: string): Finding {
  return { level: "ok", what, todo: "" };
}

export function warning(what: string, todo: string): Finding {
  return { level: "warning", what, todo };
}

export function problem(what: string, todo: string): Finding {
  return { level: "problem", what, todo };
}

/** Returns a number with its noun: `1 message`, `2 messages`. */
export function counted(count: number, what: string): string {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}

const NEEDED = ["publisher_confirms", "consumer_cancel_notify", "connection.blocked", "basic.nack"];

/** Checks the product, version and extensions of the broker. */
export function aboutServer({ product, version, capabilities }: ServerInfo): readonly Finding[] {
  if (product !== "RabbitMQ")
    return [
      problem(
        `The broker is ${product || "unknown"} ${version}.`,
        "confluo is tested on RabbitMQ 3.10 and later.",
      ),
    ];
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const missing = NEEDED.filter((name) => !capabilities.includes(name));
  return [
    aboutVersion(version, major, minor),
    missing.length === 0
      ? ok("It has the AMQP extensions that confluo needs.")
      : problem(
          `It lacks ${missing.join(", ")}.`,
          "Is there a proxy in between that supports fewer extensions than RabbitMQ?",
        ),
  ];
}

function aboutVersion(version: string, major: number, minor: number): Finding {
  const name = `RabbitMQ ${version}`;
  if (major < 3 || (major === 3 && minor < 10))
    return problem(
      `${name} is older than what confluo needs.`,
      "Upgrade to 3.10 or later: quorum queues need it.",
    );
  if (major === 3)
    return warning(
      `${name} gets no more fixes from the community, and in a cluster calls to a service fail while the node with its calls queue is down.`,
      "Plan for RabbitMQ 4, which moves that queue to another node. Everything else behaves the same on both.",
    );
  const limits = "its default limit of 20 deliveries does not apply to confluo's queues, which set their own";
  if (major === 4 && minor < 3) return ok(`${name}: ${limits}.`);
  return ok(
    `${name}: ${limits}; a nack no longer counts as a delivery there, and confluo does not rely on that count.`,
  );
}

/** Checks the encryption and the users of the connections to the nodes of a broker. */
export function aboutAddress(address: string): readonly Finding[] {
  const urls = address
    .split(",")
    .filter((text) => URL.canParse(text.trim()))
    .map((text) => new URL(text.trim()));
  const [local, remote] = divide(urls, ({ hostname }) => LOCAL.test(hostname));
  const [encrypted, clear] = divide(remote, ({ protocol }) => protocol === "amqps:");
  const [guests] = divide(remote, ({ username }) => username === "" || username === "guest");
  return [
    ...about(local, (hosts) => ok(`The broker is on this machine (${hosts}): nothing crosses a network.`)),
    ...about(encrypted, (hosts) => ok(`The connection to ${hosts} is encrypted.`)),
    ...about(clear, (hosts) =>
      warning(
        `Messages and the password go to ${hosts} in clear text.`,
        "Use amqps:// unless you trust the network in between; see docs/security.md.",
      ),
    ),
    ...about(guests, (hosts) =>
      warning(
        `The user at ${hosts} is guest, with a password that everyone knows.`,
        "Create a separate user for the services: rabbitmqctl add_user, set_permissions; see docs/operations.md.",
      ),
    ),
  ];
}

const LOCAL = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

function about(urls: readonly URL[], find: (hosts: string) => Finding): readonly Finding[] {
  const hosts = [...new Set(urls.map(({ hostname }) => hostname))];
  return hosts.length === 0 ? [] : [find(listed(hosts))];
}

function divide<Item>(items: readonly Item[], test: (item: Item) => boolean): readonly [Item[], Item[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

/** Returns names as a phrase: `a`, `a and b`, `a, b and c`. */
export function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Checks the nodes of a cluster, by the errors with which attempts to connect to them failed. */
export function aboutNodes(errors: readonly ConfluoError[]): readonly Finding[] {
  return errors.map(({ code, message }) => {
    const isDown = code === "BROKER_UNREACHABLE" || code === "TIMEOUT";
    const todo = isDown ? "Start this one, or remove its address." : "Mend this one, or remove its address.";
    return warning(message, `Services connect to the other nodes. ${todo}`);
  });
}

/** Checks the instances, queues and failures of a service. */
export function aboutService(stats: ServiceStats): readonly Finding[] {
  const { service, instances, queues } = stats;
  const found: Finding[] = [];
  for (const { instance, health } of instances) {
    if (health.status === "healthy") continue;
    const why = [
      ...health.detached.map((name) => `no ${name}`),
      ...(health.blocked === undefined ? [] : [health.blocked]),
      ...(health.stalled ?? []).map((name) => `messages do not return from ${name}`),
      ...(health.reason === undefined ? [] : [health.reason.message.replace(/\.$/, "")]),
    ];
    found.push(
      problem(
        `${service}, instance ${instance}, is ${health.status}${why.length === 0 ? "" : `: ${why.join(", ")}`}.`,
        `It reconnects by itself; its log says why it fails. confluo show ${service} shows all instances.`,
      ),
    );
  }
  found.push(...aboutQueues(service, queues));
  if (stats.unknownQueues !== undefined) found.push(unknownDepth(service, stats.unknownQueues));
  const handlers = [...stats.routes, ...stats.subscriptions];
  const failed = handlers.reduce((sum, each) => sum + each.failed, 0);
  if (failed > 0) {
    const last = handlers
      .flatMap(({ lastError }) => lastError ?? [])
      .sort((a, b) => (a.at < b.at ? 1 : -1))[0];
    const why =
      last === undefined ? "" : `, last ${last.at}: ${last.code} ${last.message.replace(/\.$/, "")}`;
    found.push(
      warning(
        `${service} has failed ${counted(failed, "time")}${why}.`,
        `confluo show ${service} says in which handler.`,
      ),
    );
  }
  return found.length > 0 ? found : [ok(`${service}: ${instances.length} healthy, nothing waits for long.`)];
}

/** Returns a warning for queues that the broker gives no information about. */
export function unknownDepth(of: string, queues: readonly string[]): Finding {
  return warning(
    `It is unknown how many messages wait for ${of}: the broker gives no information about ${queues.join(", ")}.`,
    "Their node is down, or this user lacks a right on them, and RabbitMQ 4.2.6 and later then refuse to answer: docs/operations.md.",
  );
}

const MANY = 1_000;

/** Checks the queues of a service, even if none of its instances answers. `users` are sentences about services that use it. */
export function aboutQueues(
  service: string,
  queues: ServiceStats["queues"],
  users: readonly string[] = [],
): readonly Finding[] {
  const { calls, inbox, dead } = queues;
  const found: Finding[] = [];
  const durable = (inbox?.messages ?? 0) + (queues["inbox.again"]?.messages ?? 0);
  const fast = [calls, queues["calls.again"], queues["calls.batch"]];
  const waitingCalls = fast.reduce((sum, queue) => sum + (queue?.messages ?? 0), 0);
  if (inbox?.consumers === 0)
    found.push(
      problem(
        `Nobody consumes the inbox queue of ${service}; ${durable} wait.${users.length === 0 ? "" : ` ${users.join(", ")}.`}`,
        `Start an instance of ${service}. If the service will not run again, use confluo rm ${service}, because events would fill its queues.`,
      ),
    );
  // No deletion is advised: the queue deletes itself, and calls do not fill it, because they expire.
  if (calls?.consumers === 0 && (waitingCalls > 0 || inbox?.consumers !== 0))
    found.push(
      warning(
        `Nobody consumes the calls queue of ${service}; ${waitingCalls} wait, each until its caller gives up.`,
        `Start an instance of ${service}. The queue disappears by itself 30 s after its last consumer; then calls fail at once with NO_SUCH_SERVICE.`,
      ),
    );
  if (durable > MANY)
    found.push(
      warning(
        `${durable} messages wait in the inbox of ${service}.`,
        "Start more instances, or make the handlers faster: confluo show lists their durations.",
      ),
    );
  if ((dead?.messages ?? 0) > 0)
    found.push(
      warning(
        `${service} has given up ${counted(dead?.messages ?? 0, "message")}.`,
        `confluo dead ls ${service} lists them; after the fix, confluo dead replay ${service} --all sends them back.`,
      ),
    );
  return found;
}

/** Checks whether the instances of each service have the same version. */
export function aboutVersions(infos: readonly InstanceInfo[]): readonly Finding[] {
  const byService = groups(infos);
  return [...byService].flatMap(([service, all]) => {
    const versions = [
      ...new Set(all.map(({ version, confluo }) => `${version ?? "no version"} on confluo ${confluo}`)),
    ];
    if (versions.length < 2) return [];
    const todo = "This is normal during a rolling deploy, but not afterwards.";
    return [warning(`Instances of ${service} are of different versions: ${versions.join(", ")}.`, todo)];
  });
}

/** Smallest difference between two clocks that is reported. Smaller ones may be caused by the time that an answer takes. */
const SKEW_MS = 5_000;

/** Checks the clocks of the instances' hosts against `now`, the time of this host. */
export function aboutClocks(infos: readonly InstanceInfo[], now: number): readonly Finding[] {
  const ahead = new Map<string, number>();
  for (const { host, startedAt, uptimeMs } of infos) {
    const ms = Date.parse(startedAt) + uptimeMs - now;
    if (Math.abs(ms) > Math.max(SKEW_MS, Math.abs(ahead.get(host) ?? 0))) ahead.set(host, ms);
  }
  if (ahead.size === 0)
    return infos.length === 0 ? [] : [ok("The clocks of all hosts are close to this one.")];
  return [...ahead].map(([host, ms]) => {
    const seconds = Math.round(Math.abs(ms) / 1_000).toLocaleString("en");
    return warning(
      `The clock of ${host} is ${seconds} s ${ms > 0 ? "ahead of" : "behind"} the one here.`,
      "Synchronise it (NTP). confluo does not compare clocks, but times in logs, traces and dead letters are misleading.",
    );
  });
}

/** A feature flag of RabbitMQ, as the management plugin lists it. */
export interface FeatureFlag {
  readonly name: string;
  readonly isEnabled: boolean;
  /** True for stable feature flags, which RabbitMQ wants enabled. */
  readonly isStable: boolean;
}

/** Checks whether RabbitMQ's stable feature flags are enabled (https://www.rabbitmq.com/docs/feature-flags). */
export function aboutFeatureFlags(flags: readonly FeatureFlag[]): readonly Finding[] {
  const off = flags.filter(({ isEnabled, isStable }) => isStable && !isEnabled).map(({ name }) => name);
  if (off.length === 0) return [ok("Every stable feature flag is enabled.")];
  const todo = "rabbitmqctl enable_feature_flag all, once every node of the cluster has the same version.";
  if (off.includes("quorum_queue"))
    return [
      problem("The feature flag quorum_queue is disabled, and confluo's durable queues need it.", todo),
    ];
  return [
    warning(
      `Feature flags are disabled: ${off.join(", ")}. A later RabbitMQ may refuse to start without them.`,
      todo,
    ),
  ];
}

function groups(infos: readonly InstanceInfo[]): Map<string, InstanceInfo[]> {
  const found = new Map<string, InstanceInfo[]>();
  for (const info of infos) found.set(info.service, [...(found.get(info.service) ?? []), info]);
  return found;
}

/** Reports queues and exchanges that differ from confluo's declarations. */
export function aboutConflicts(of: string, conflicts: readonly ConfluoError[]): readonly Finding[] {
  if (conflicts.length === 0) return [ok(`${of}: declared as confluo declares them.`)];
  const untold = conflicts.filter(({ code }) => code !== "TOPOLOGY_CONFLICT");
  const found = conflicts
    .filter(({ code }) => code === "TOPOLOGY_CONFLICT")
    .map(({ message }) =>
      problem(
        message,
        "Another program declared it. Empty it, delete it and let a service connect, which creates it again.",
      ),
    );
  const [first] = untold;
  if (first === undefined) return found;
  const others =
    untold.length === 1 ? "" : ` And ${counted(untold.length - 1, "other")} with the same problem.`;
  return [
    ...found,
    warning(
      `${of}: not compared with what confluo declares. ${first.message}${others}`,
      first.code === "ACCESS_REFUSED"
        ? "Run this command as the user of the services."
        : "Run this command again when the node is back.",
    ),
  ];
}

/** A binding of an inbox, as the management plugin lists it. */
export interface Binding {
  readonly service: string;
  readonly key: string;
}

/** Reports bindings that no instance has a subscription for. */
export function aboutBindings(
  bindings: readonly Binding[],
  infos: readonly Pick<InstanceInfo, "service" | "subscriptions">[],
): readonly Finding[] {
  const patterns = new Map(infos.map(({ service }) => [service, new Set<string>()]));
  for (const { service, subscriptions } of infos)
    for (const { pattern, per } of subscriptions)
      if (per === "service") patterns.get(service)?.add(withoutNames(pattern));
  const stale = bindings
    .map(({ service, key }) => ({ service, pattern: patternOf(key) }))
    .filter(({ service, pattern }) => patterns.get(service)?.has(pattern) === false);
  if (stale.length === 0) return [ok("Every binding has a subscription.")];
  return stale.map(({ service, pattern }) => {
    return warning(
      `${service} gets the events of ${pattern}, but none of its instances subscribes to them.`,
      `If they are no longer needed: confluo unbind ${service} ${quoted(pattern)}.`,
    );
  });
}

// Quotes a text as one word of a shell command.
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// A binding key has a `*` in place of each parameter.
function withoutNames(pattern: string): string {
  return pattern.replace(/\/:[^/]+/g, "/*");
}

/** Returns the pattern of a binding key; `docs/protocol.md` specifies the encoding. */
function patternOf(key: string): string {
  return `/${key.replaceAll(".", "/").replace(/%(?:2E|2A|23|25)/gi, decodeURIComponent)}`;
}
