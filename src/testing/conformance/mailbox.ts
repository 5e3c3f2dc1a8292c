/** A service's queues for calls as a foreign client sees them, and what lies in them, gathered or not. */

import type { AmqpClient, Message, Properties, Service, ServiceOptions } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { type Bench, signalled } from "./suite.ts";

export const CALLS = "application/vnd.confluo.calls+json";
export const REPLIES = "application/vnd.confluo.replies+json";

/** A call or a reply, whether it came by itself or with others. */
export interface Entry {
  readonly id: string;
  readonly path?: string;
  readonly ms?: number;
  readonly body?: unknown;
  readonly status?: number;
  readonly error?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly again?: boolean;
}

/** A service whose queues are there, with nobody at them. */
export async function absent(bench: Bench, name: string, options?: ServiceOptions): Promise<void> {
  const service = await bench.start(name, (each) => each.route("/declared-only", () => undefined), options);
  await service.shutdown();
  // The last instance takes it along.
  const client = await bench.foreign();
  await client.declareQueue({ name: bench.queue(name, "calls.batch"), arguments: CALLS_ARGUMENTS });
}

const CALLS_ARGUMENTS = { "x-queue-type": "classic", "x-expires": 30_000 } as const;

/** Waits for this many messages in a service's queues for calls, and that they are all. */
export async function untilQueued(bench: Bench, service: string, messages: number): Promise<void> {
  const isIt = async (): Promise<boolean> => {
    const [single, batches] = [
      await bench.depth(service, "calls"),
      await bench.depth(service, "calls.batch"),
    ];
    return single + batches === messages;
  };
  await eventually(async () => (await isIt()) && (await isIt()), `${messages} messages in its queue`);
}

/** Stands in for a service: takes whatever comes to its queues for calls, until it is closed. */
export async function standIn(
  bench: Bench,
  service: string,
  onMessage: (message: Message, client: AmqpClient) => void = () => undefined,
): Promise<{ readonly messages: readonly Message[]; close(): Promise<void> }> {
  const client = await bench.foreign();
  const messages: Message[] = [];
  await client.declareQueue({ name: bench.queue(service, "calls.batch"), arguments: CALLS_ARGUMENTS });
  const consume = (lane: "calls" | "calls.batch"): ReturnType<AmqpClient["consume"]> =>
    client.consume({
      queue: bench.queue(service, lane),
      prefetch: "no-ack",
      onCancelled: () => undefined,
      onDelivery: ({ message }) => {
        messages.push(message);
        onMessage(message, client);
      },
    });
  const consumers = [await consume("calls"), await consume("calls.batch")];
  const close = async (): Promise<void> => {
    for (const consumer of consumers) await consumer.cancel();
  };
  return { messages, close };
}

/** What a message holds: the entries of a gathered one, or itself. */
export function entriesIn(message: Message): readonly Entry[] {
  const { contentType, correlationId = "", type, headers } = message.properties;
  const body: unknown = message.body.length === 0 ? undefined : JSON.parse(textOf(message));
  if (contentType === CALLS || contentType === REPLIES) return body as readonly Entry[];
  const error = headers?.["confluo-error"];
  const status = headers?.["confluo-status"];
  return [
    {
      id: correlationId,
      ...(type === undefined ? {} : { path: type }),
      ...(status === undefined ? {} : { status: Number(status) }),
      ...(error === undefined ? {} : { error: String(error) }),
      body,
    },
  ];
}

export function textOf({ body }: Message): string {
  return new TextDecoder().decode(body);
}

export function messageOf(body: string, properties: Properties): Message {
  return { body: new TextEncoder().encode(body), properties };
}

/** A foreign client with a queue for replies. */
export interface Asker {
  readonly replyTo: string;
  /** All that it was answered, by id. */
  readonly answers: ReadonlyMap<string, Entry>;
  /** Replies as they came. */
  readonly replies: readonly Message[];
  answer(id: string): Promise<Entry>;
}

/** A foreign client that is answered. */
export async function asker(bench: Bench): Promise<Asker> {
  const client = await bench.foreign();
  const replyTo = await client.declareQueue({
    name: "",
    exclusive: true,
    arguments: { "x-queue-type": "classic" },
  });
  const answers = new Map<string, Entry>();
  const replies: Message[] = [];
  await client.consume({
    queue: replyTo,
    prefetch: "no-ack",
    onCancelled: () => undefined,
    onDelivery: ({ message }) => {
      replies.push(message);
      for (const entry of entriesIn(message)) answers.set(entry.id, entry);
    },
  });
  const answer = async (id: string): Promise<Entry> => {
    await eventually(() => answers.has(id), `the answer to ${id}`);
    return answers.get(id) as Entry;
  };
  return { replyTo, answers, replies, answer };
}

/** A caller whose calls of a turn lie in the queue of a service that is absent, in as many messages as they take. */
export async function queued<Result>(
  bench: Bench,
  { caller, messages, call }: Calling<Result>,
): Promise<readonly Promise<Result>[]> {
  await absent(bench, "worker");
  const results = call(caller);
  for (const result of results) result.catch(() => undefined);
  await untilQueued(bench, "worker", messages);
  return results;
}

/** Calls of one turn to the service `worker`. */
export interface Calling<Result> {
  readonly caller: Service;
  /** How many messages they make. */
  readonly messages: number;
  call(caller: Service): readonly Promise<Result>[];
}

/** Something that a test lets go on when it is time. */
export function held(): { readonly free: Promise<void>; release(): void } {
  const { promise, resolve } = signalled();
  return { free: promise, release: () => resolve() };
}
