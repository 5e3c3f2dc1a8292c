/**
 * Reports the effects of policies on the queues of a namespace. confluo needs no policies, and some of them destroy messages.
 * The functions are pure: all facts are arguments.
 */

import { forHumans } from "../services/service-table.ts";
import { type Finding, ok, problem, warning } from "./checks.ts";

/** A queue that a policy applies to, as the management plugin lists it. */
export interface QueuePolicy {
  readonly queue: string;
  readonly kind: QueueKind;
  /** The names of the policies, as a phrase. */
  readonly policy: string;
  /** The combined settings of the policies, with RabbitMQ's names. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** The purpose of a queue. */
export type QueueKind = "letters" | "inbox" | "delay" | "calls" | "other";

/**
 * Converts the management plugin's description of a queue; `undefined` for a queue outside the namespace or without a policy.
 */
export function queuePolicy(
  namespace: string,
  given: Readonly<Record<string, unknown>>,
): QueuePolicy | undefined {
  const { name, policy, operator_policy: operator, effective_policy_definition: settings } = given;
  if (typeof name !== "string" || !name.startsWith(`${namespace}.`)) return undefined;
  // Without a policy, RabbitMQ returns an empty list.
  if (typeof settings !== "object" || settings === null || Array.isArray(settings)) return undefined;
  const named = [
    ...(typeof policy === "string" && policy !== "" ? [`policy ${policy}`] : []),
    ...(typeof operator === "string" && operator !== "" ? [`operator policy ${operator}`] : []),
  ];
  if (named.length === 0) return undefined;
  const kind = kindOf(name.slice(namespace.length + 1));
  return { queue: name, kind, policy: named.join(" and "), settings: { ...settings } };
}

function kindOf(name: string): QueueKind {
  if (name === "orphans" || /^[^.]+\.dead$/.test(name)) return "letters";
  if (/^[^.]+\.inbox(?:\.again)?$/.test(name)) return "inbox";
  if (/^wait\.\d+$/.test(name)) return "delay";
  return /^[^.]+\.calls(?:\.again|\.batch)?$/.test(name) ? "calls" : "other";
}

/** Reports each effect of each policy once, with all queues that have it. */
export function aboutPolicies(policies: readonly QueuePolicy[]): readonly Finding[] {
  const effects = new Map<string, { readonly effect: Effect; readonly of: QueuePolicy; queues: string[] }>();
  for (const of of policies)
    for (const effect of effectsOn(of)) {
      const key = JSON.stringify([of.policy, of.kind, effect.setting, effect.does]);
      const same = effects.get(key);
      if (same === undefined) effects.set(key, { effect, of, queues: [of.queue] });
      else same.queues.push(of.queue);
    }
  if (effects.size === 0) return [ok("No policy destroys confluo's messages.")];
  return [...effects.values()].map(({ effect: { setting, does, isHarmless }, of, queues }) => {
    const what = `The ${of.policy} sets ${setting} to ${shown(of.settings[setting])} on ${listed(queues)}: ${does}.`;
    return (isHarmless ? warning : problem)(what, todoOf(of.policy));
  });
}

interface Effect {
  readonly setting: string;
  /** The effect on the messages in the queue. */
  readonly does: string;
  /** True if only calls are affected, because their callers get an error. */
  readonly isHarmless?: true;
}

const CALLS_EXPIRE_MS = 30_000;

// If the queue's arguments and a policy set the same limit, the lower one applies. For dead-letter settings and overflow, the
// arguments apply.
function effectsOn({ kind, queue, settings }: QueuePolicy): readonly Effect[] {
  const found: Effect[] = [];
  const add = (setting: string, does: string, isHarmless?: true): void => {
    found.push({ setting, does, ...(isHarmless === undefined ? {} : { isHarmless }) });
  };
  const ttl = numberOf(settings["message-ttl"]);
  if (ttl !== undefined) {
    if (kind === "letters") add("message-ttl", `letters are destroyed after ${forHumans(ttl)}`);
    if (kind === "inbox")
      add(
        "message-ttl",
        `commands and events that wait for ${forHumans(ttl)} become dead letters, and no handler sees them`,
      );
    const level = 250 * 2 ** Number(/\d+$/.exec(queue)?.[0]);
    if (kind === "delay" && ttl < level)
      add(
        "message-ttl",
        `retries and delayed messages come after ${forHumans(ttl)} instead of ${forHumans(level)}`,
      );
    if (kind === "calls")
      add("message-ttl", `calls that wait for ${forHumans(ttl)} vanish, and their callers time out`, true);
  }
  for (const setting of ["max-length", "max-length-bytes"]) {
    if (numberOf(settings[setting]) === undefined) continue;
    const refuses = String(settings.overflow).startsWith("reject-publish");
    if (kind === "letters" && refuses)
      add(
        setting,
        "once it is full it accepts no letters, and messages that should become letters are retried endlessly",
      );
    else if (kind === "letters") add(setting, "once it is full each new letter destroys the oldest");
    if (kind === "inbox")
      add(
        setting,
        "once it is full it accepts no messages, and the retries of all services are stuck behind it",
      );
    if (kind === "delay")
      add(setting, "once it is full failed messages cannot wait there, and handlers stall");
    if (kind === "calls")
      add(setting, "once it is full calls vanish or are refused, and their callers time out", true);
  }
  const expires = numberOf(settings.expires);
  if (expires !== undefined) {
    const unused = `the queue and its messages are destroyed when nobody has used it for ${forHumans(expires)}`;
    if (kind === "letters" || kind === "delay") add("expires", `${unused}, and nothing ever consumes it`);
    if (kind === "inbox")
      add("expires", `${unused}: commands and events of a service that is down for longer are lost`);
    if (kind === "calls" && expires < CALLS_EXPIRE_MS)
      add("expires", `calls fail if a restart of the service takes longer than ${forHumans(expires)}`, true);
  }
  const limit = numberOf(settings["delivery-limit"]);
  if (limit !== undefined && limit >= 0) {
    if (kind === "letters")
      add(
        "delivery-limit",
        limit === 0
          ? "a letter that is read once is destroyed"
          : `a letter that another tool reads ${limit + 1} times is destroyed; confluo itself puts a copy back in time`,
      );
    if (kind === "inbox")
      add(
        "delivery-limit",
        `a message that returns ${limit + 1} times becomes a dead letter, although no handler gave it up`,
      );
  }
  const isDeadLettered = kind === "inbox" || kind === "delay";
  for (const setting of ["dead-letter-exchange", "dead-letter-routing-key"]) {
    if (settings[setting] === undefined) continue;
    if (kind === "delay" && setting === "dead-letter-routing-key")
      add(setting, "every retry that waits here goes to that queue, whatever its service");
    else if (!isDeadLettered && kind !== "other")
      add(setting, "a message that is dropped here goes there instead, where confluo does not look", true);
  }
  return found;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

const SHOWN = 3;

function listed(queues: readonly string[]): string {
  const rest = queues.length - SHOWN;
  const names = queues.slice(0, SHOWN).join(", ");
  return rest > 0 ? `${names} and ${rest} more` : names;
}

function todoOf(policy: string): string {
  const isOperators = !policy.startsWith("policy ");
  return `rabbitmqctl ${isOperators ? "clear_operator_policy" : "clear_policy"}, or a pattern that leaves out confluo's queues: docs/operations.md.`;
}
