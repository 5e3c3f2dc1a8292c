/** Checks whether messages return from the delay queues, and which queues refuse messages. */

import { randomBytes } from "node:crypto";
import type { AmqpClient, Message } from "../../index.ts";
import { counted, type Finding, listed, ok, problem, warning } from "./checks.ts";

/** Delay levels that are tested, if they exist: 250 ms to 4 s, which are short enough for a command to wait. */
const TRIED: readonly number[] = [0, 1, 2, 3, 4];
const LONGEST_TRIED_MS = 4_000;
/** The number of levels, which are the digits of a routing key. */
const LEVELS = 26;
const GRACE_MS = 4_000;
/** Lifetime of the test's queue, because a message that is stuck in a delay queue may still return later. */
const KEPT_MS = 24 * 3_600_000;

/**
 * Sends a message through each of the shorter delay levels that exist.
 *
 * @returns the names of the delay queues that refused the message or did not return it in time.
 */
export async function stalledDelays(client: AmqpClient, namespace: string): Promise<readonly string[]> {
  const queue = `${namespace}.doctor.${randomBytes(6).toString("hex")}`;
  await client.declareQueue({ name: queue, arguments: { "x-queue-type": "classic", "x-expires": KEPT_MS } });
  await client.bind(queue, `${namespace}.due`, `${"*.".repeat(LEVELS)}${queue}`);
  const missing = new Set<number>();
  for (const level of TRIED)
    if ((await client.inspectQueue(`${namespace}.wait.${level}`)) !== undefined) missing.add(level);
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  if (missing.size === 0) end();
  const timer = setTimeout(() => end(), LONGEST_TRIED_MS + GRACE_MS);
  try {
    await client.consume({
      queue,
      prefetch: "no-ack",
      onDelivery: ({ message }) => {
        missing.delete(Number(message.properties.correlationId));
        if (missing.size === 0) end();
      },
      onCancelled: () => end(),
    });
    for (const level of missing) {
      const key = `${"0.".repeat(LEVELS - 1 - level)}1.${"0.".repeat(level)}${queue}`;
      client.publish({ exchange: `${namespace}.wait.${level}`, key }, probe(level), () => undefined);
    }
    await ended;
  } finally {
    clearTimeout(timer);
    if (missing.size === 0) await client.deleteQueue(queue);
  }
  return [...missing].map((level) => `${namespace}.wait.${level}`);
}

function probe(level: number): Message {
  const properties = { deliveryMode: 2, mandatory: true, correlationId: String(level) } as const;
  return { body: new Uint8Array(0), properties };
}

/** A queue of the namespace, as the management plugin lists it. */
export interface WatchedQueue {
  readonly name: string;
  /** Number of all messages in the queue. */
  readonly messages: number;
  /**
   * Number of messages that are neither ready nor with a consumer: they are on the way to the queue that they are dead-lettered
   * to.
   */
  readonly leaving: number;
  /** The reason why the queue refuses messages; `undefined` if it accepts them. */
  readonly refuses: string | undefined;
}

/** Converts the management plugin's description of a queue; `undefined` for a queue outside the namespace. */
export function queueState(
  namespace: string,
  given: Readonly<Record<string, unknown>>,
): WatchedQueue | undefined {
  const { name } = given;
  if (typeof name !== "string" || !name.startsWith(`${namespace}.`)) return undefined;
  const messages = numberOf(given.messages);
  const leaving = messages - numberOf(given.messages_ready) - numberOf(given.messages_unacknowledged);
  return { name, messages, leaving: Math.max(0, leaving), refuses: refusalOf(given, messages) };
}

function refusalOf(given: Readonly<Record<string, unknown>>, messages: number): string | undefined {
  const { online, members, state } = given;
  if (Array.isArray(online) && Array.isArray(members) && online.length * 2 <= members.length)
    return `${online.length} of its ${counted(members.length, "node")} ${online.length === 1 ? "is" : "are"} up, which is no majority`;
  if (state === "down" || state === "minority") return `its state is ${state}`;
  const policy = given.effective_policy_definition;
  if (typeof policy !== "object" || policy === null) return undefined;
  const limits = policy as Readonly<Record<string, unknown>>;
  const isDeclared = given.type === "quorum";
  if (isDeclared && typeof limits["max-length"] === "number" && messages >= limits["max-length"])
    return `a policy (${String(given.policy ?? given.operator_policy)}) sets its max-length to ${limits["max-length"]}, and it is full`;
  const bytes = limits["max-length-bytes"];
  if (isDeclared && typeof bytes === "number" && numberOf(given.message_bytes) >= bytes * ALMOST_FULL)
    return `a policy (${String(given.policy ?? given.operator_policy)}) sets its max-length-bytes to ${bytes}, and it is full`;
  return undefined;
}

const ALMOST_FULL = 0.9;

function numberOf(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

/**
 * Reports delay levels that are stuck, and the queues that they wait for. `queues` is `undefined` without the management
 * plugin.
 */
export function aboutDelays(
  stalled: readonly string[],
  queues: readonly WatchedQueue[] | undefined,
): readonly Finding[] {
  const held = new Map(queues?.map(({ name, leaving }) => [name, leaving]));
  const names = [...new Set([...stalled, ...(queues ?? []).filter(isHeldUp).map(({ name }) => name)])].sort();
  const refusing = (queues ?? []).filter(({ refuses }) => refuses !== undefined);
  const reasons = refusing.map(({ name, refuses }) => `${name} accepts no messages: ${refuses}`);
  if (names.length === 0)
    return reasons.length === 0
      ? [ok("Messages return from the delay queues.")]
      : reasons.map((reason) => problem(`${reason}.`, MEND));
  const shown = names.map((name) => {
    const count = held.get(name) ?? 0;
    return count === 0 ? name : `${name} (${counted(count, "message")} stuck)`;
  });
  const what = `Messages do not return from ${shown.join(", ")}: retries of all services are stuck there`;
  if (reasons.length > 0) return [problem(`${what}. ${reasons.join("; ")}.`, MEND)];
  return [
    problem(
      `${what}, because a queue that some of them return to accepts no messages.`,
      queues === undefined
        ? "Use --management http://… to find that queue: one with a policy that sets max-length, or without a majority of its nodes."
        : "Look for an inbox that accepts no messages: rabbitmqctl list_queues name policy messages members online.",
    ),
  ];
}

const MEND =
  "Remove the policy, start the queue's nodes, or let an instance handle its messages. The stuck messages continue within three minutes.";

/** RabbitMQ dead-letters this many messages at a time. If all of them go to a queue that refuses messages, the others wait. */
const IN_FLIGHT = 32;

/**
 * Returns whether a delay queue holds more overdue messages than RabbitMQ dead-letters at a time. A burst of messages can also
 * cause that.
 */
export function isHeldUp({ name, leaving }: WatchedQueue): boolean {
  return /\.(?:wait|delay)\.\d+$/.test(name) && leaving >= IN_FLIGHT;
}

/** The delay queues that the first builds of confluo declared, by their waits in milliseconds. */
const OLD_MS = [250, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 256_000, 1_024_000];

/** A queue with the number of its messages. */
interface OldDelay {
  readonly name: string;
  readonly messages: number;
}

/** Returns the delay queues of the first builds that still exist. */
export async function oldDelays(client: AmqpClient, namespace: string): Promise<readonly OldDelay[]> {
  const found: OldDelay[] = [];
  for (const ms of OLD_MS) {
    const name = `${namespace}.delay.${ms}`;
    const queue = await client.inspectQueue(name);
    if (queue !== undefined) found.push({ name, messages: queue.messages });
  }
  return found;
}

/** Reports delay queues that no instance uses any more. */
export function aboutOldDelays(found: readonly OldDelay[]): readonly Finding[] {
  if (found.length === 0) return [];
  const names = listed(found.map(({ name }) => name));
  const count = found.reduce((sum, { messages }) => sum + messages, 0);
  if (count === 0)
    return [
      warning(
        `${names} are delay queues of an earlier build: confluo does not use them any more.`,
        "Delete them, and the exchanges of the same names.",
      ),
    ];
  return [
    warning(
      `${counted(count, "message")} still ${count === 1 ? "waits" : "wait"} in delay queues of an earlier build: ${names}.`,
      "They will return to their inboxes. Delete these queues when they are empty, and the exchanges of the same names.",
    ),
  ];
}
