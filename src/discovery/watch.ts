/** Shows events as they are published. Each watch gets its own copies, which affect no service. */

import { onAbort } from "../async/abort.ts";
import { Lookout } from "../async/lookout.ts";
import { runInNewContext } from "../async/outside-context.ts";
import { waitFor } from "../async/timed-promise.ts";
import { ConfluoError, invalidArgument, isConfluoError } from "../errors.ts";
import { readWaitOptions, type WaitOptions } from "../options/checks.ts";
import { bindingKey } from "../protocol/address.ts";
import { EVENTS_TYPE, eventsIn } from "../protocol/batch.ts";
import { bodyLength, decodeBody, userHeaders } from "../protocol/codec.ts";
import { readEnvelope } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import { INSTANCE_EVENTS_ARGUMENTS } from "../protocol/topology.ts";
import type { AmqpClient, AmqpDelivery } from "../transport/amqp-client.ts";
import { mayBeThere } from "./ask.ts";

/** An event that was published. */
export interface WatchedEvent {
  readonly path: string;
  /** Query string, without the `?`. */
  readonly query: string;
  /** The service that published it; empty if unknown. */
  readonly from: string;
  readonly messageId: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: number;
  /** The decoded body. It is decoded on first access; a `Uint8Array` if it is bytes or cannot be decoded. */
  readonly body: unknown;
}

/** A running watch. */
export interface Watch {
  /** Resolves after `close`, rejects with `CONNECTION_LOST` or `UNAVAILABLE` if the watch failed. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

/** Access to the broker. */
export interface WatchParts {
  readonly events: string;
  open(options: WaitOptions): Promise<AmqpClient>;
}

const OPEN_MS = 20_000;
const AT_A_TIME = 100;

export async function watch(
  { events, open }: WatchParts,
  pattern: string,
  listener: (event: WatchedEvent) => unknown,
  options?: WaitOptions,
): Promise<Watch> {
  const key = bindingKey(pattern);
  if (typeof listener !== "function") throw invalidArgument("A listener", "a function", listener);
  const { ms, signal } = readWaitOptions("watch", options, OPEN_MS);
  const client = await open({
    timeoutMs: ms,
    ...(signal === undefined ? {} : { signal }),
  });
  let broke: (reason: ConfluoError) => void = () => undefined;
  const broken = new Promise<never>((_, reject) => {
    broke = reject;
  });
  const lost = client.lost.then((reason) => {
    if (reason !== undefined) throw reason;
  });
  const ended = Promise.race([lost, broken]);
  let lookout: Lookout | undefined;
  ended.catch(() => undefined).then(() => lookout?.end());
  const close = (): Promise<void> => client.close();
  const begin = async (): Promise<void> => {
    const queue = await client.declareQueue({
      name: "",
      exclusive: true,
      arguments: INSTANCE_EVENTS_ARGUMENTS,
    });
    // A user with the right to read may lack the right to declare the exchange. It exists already if a service has ever
    // connected.
    if (!(await mayBeThere(client, events))) await client.declareExchange({ name: events, type: "topic" });
    await client.bind(queue, events, key);
    await client.consume({
      queue,
      prefetch: AT_A_TIME,
      onDelivery: (delivery) => {
        // An event is acknowledged once the listener is done with it. Others wait at the broker, which drops the oldest, so a
        // slow listener does not fill this process's memory.
        void toldAll(listener, delivery).then(() => delivery.ack());
      },
      onCancelled: broke,
    });
    // Some brokers lose such a queue without reporting it.
    lookout = new Lookout(async () => {
      try {
        if ((await client.inspectQueue(queue)) !== undefined) return;
        broke(
          new ConfluoError("UNAVAILABLE", `The broker has lost the queue ${queue} without reporting it.`),
        );
      } catch (error) {
        // Every further check would be refused, too.
        if (isConfluoError(error, "ACCESS_REFUSED")) lookout?.end();
      }
    });
    lookout.begin();
  };
  try {
    await waitFor<void>({ ms, signal, what: `the broker to show the events of ${pattern}` }, (waiter) => {
      begin().then(waiter.resolve, waiter.reject);
    });
  } catch (error) {
    await close();
    throw error;
  }
  if (signal !== undefined) {
    const leave = onAbort(signal, () => void close());
    ended.then(leave, leave);
  }
  return { ended, close };
}

async function toldAll(
  listener: (event: WatchedEvent) => unknown,
  { message, key }: AmqpDelivery,
): Promise<void> {
  for (const each of eventsOf(message)) await told(listener, watched(each, key));
}

// A message that cannot be read is shown as it is.
function eventsOf(message: Message): readonly Message[] {
  if (message.properties.contentType !== EVENTS_TYPE) return [message];
  try {
    return eventsIn(message);
  } catch {
    return [message];
  }
}

async function told(listener: (event: WatchedEvent) => unknown, event: WatchedEvent): Promise<void> {
  try {
    await runInNewContext(listener, event);
  } catch {
    // Errors of the listener are ignored: it gets the next event all the same.
  }
}

function watched(message: Message, key: string): WatchedEvent {
  const { path, query, from, messageId } = readEnvelope(message, {
    lane: "instance",
    eventKey: key,
    newId: () => "",
  });
  return {
    path,
    query,
    from,
    messageId,
    headers: userHeaders(message.properties.headers),
    bytes: bodyLength(message),
    get body() {
      try {
        return decodeBody(message);
      } catch {
        return new Uint8Array(message.body);
      }
    },
  };
}
