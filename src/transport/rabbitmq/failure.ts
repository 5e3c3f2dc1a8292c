/** Converts errors of amqplib and of the broker to confluo's errors. */

import { ConfluoError, isConfluoError } from "../../errors.ts";

/** An error of amqplib, or of Node's sockets. */
export interface AmqpError {
  readonly code?: unknown;
  readonly message: string;
}

/** The things that a broker limits. The error for a limit has this as `data.limit`. */
type Limit = "connections" | "channels" | "consumers" | "queues" | "exchanges";

/** Returns whether the broker refused a connection with a reason that amqplib does not pass on. */
export function isOpenRefused(cause: unknown): boolean {
  return asAmqpError(cause).message.includes("Expected ConnectionOpenOk; got <ConnectionClose");
}

/** Returns whether the other side closed the connection during the handshake, without a reason. */
export function isBrokenOff(cause: unknown): boolean {
  const { code, message } = asAmqpError(cause);
  return code === "ECONNRESET" || code === "EPIPE" || message.includes("Socket closed abruptly");
}

/** The words of a broker that is shutting down, or whose vhost is not ready. */
const PASSING = /^(?:CONNECTION_FORCED|INTERNAL_ERROR)\b/;

/**
 * Returns the error for a failed attempt to connect. It never contains a URL, because that may contain a password.
 *
 * @param words the broker's reason, if it is known and is not in the cause. A refusal without a reason may be temporary: the
 * limit that caused it may have been raised since, or the broker is shutting down.
 */
export function connectFailure(cause: unknown, address: string, words?: string): ConfluoError {
  const { code, message } = asAmqpError(cause);
  const limit = limitIn(words ?? message);
  if (limit !== undefined)
    return limitFailure(cause, `The broker at ${address} accepted no connection`, words ?? message);
  if (isOpenRefused(cause)) {
    const refused = `The broker at ${address} refused to open the vhost of that address`;
    if (words === undefined || PASSING.test(words)) {
      const why =
        words === undefined
          ? "gave no reason when a second connection asked for one"
          : `said '${reasonOf(words)}'`;
      return new ConfluoError("BROKER_UNREACHABLE", `${refused} and ${why}: the next attempt may succeed.`, {
        cause,
      });
    }
    const why = `${reasonOf(words)}. Does it exist, and may the user use it?`;
    return new ConfluoError("ACCESS_REFUSED", `${refused}: ${why}`, { cause });
  }
  if (/ACCESS[_-]REFUSED|NOT[_-]ALLOWED|\b403\b|\b530\b|SASL mechanism/.test(message)) {
    return new ConfluoError(
      "ACCESS_REFUSED",
      `The broker at ${address} refused the connection: ${reasonOf(message)}. ${
        message.includes("EXTERNAL")
          ? "Check that it knows the user whom the certificate names, and has the plugin for this."
          : "Check user, password and vhost."
      }`,
      { cause },
    );
  }
  if (typeof code === "string" && /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST/.test(code)) {
    return new ConfluoError(
      "BROKER_UNREACHABLE",
      `The server at ${address} does not speak TLS: use amqp://, or the port for TLS, which is 5671 by default.`,
      { cause },
    );
  }
  if (typeof code === "string" && /CERT|SIGN|ALTNAME|^ERR_(?:TLS|SSL)_/.test(code)) {
    return new ConfluoError(
      "ACCESS_REFUSED",
      `The certificates of the broker at ${address} and of this side do not fit: ${tlsReasonOf(cause, message)}. ${tlsAdvice(code)}`,
      { cause },
    );
  }
  return new ConfluoError(
    "BROKER_UNREACHABLE",
    `No broker answers at ${address} (${typeof code === "string" ? code : reasonOf(message)}): is RabbitMQ running there?`,
    { cause },
  );
}

// OpenSSL's message names addresses and source files. Its `reason` is the useful part.
function tlsReasonOf(cause: unknown, message: string): string {
  const { reason } = cause as { readonly reason?: unknown };
  return /:SSL routines:/.test(message) && typeof reason === "string" ? reason : reasonOf(message);
}

function tlsAdvice(code: string): string {
  if (code.includes("ALTNAME"))
    return "Connect to a name that it is for, or give that as tls.servername of Broker.";
  if (code.includes("_ALERT_"))
    return "Give Broker tls.cert and tls.key that the broker accepts (CONFLUO_CERT, CONFLUO_KEY).";
  if (/SELF_SIGNED|ISSUER|UNABLE_TO/.test(code))
    return "Give Broker the CA that signed it as tls.ca (CONFLUO_CA).";
  return "See the option tls of Broker.";
}

/** Returns the error for a connection that broke. */
export function brokenFailure(cause: Error, address: string): ConfluoError {
  const limit = limitIn(cause.message);
  if (limit !== undefined) {
    const error = limitFailure(cause, `The connection to ${address} broke`, cause.message);
    return new ConfluoError("CONNECTION_LOST", error.message, { cause, data: error.data });
  }
  return new ConfluoError("CONNECTION_LOST", `The connection to ${address} broke: ${cause.message}.`, {
    cause,
  });
}

/** Returns whether a channel was not opened because the connection has as many as it may have. The connection stays open. */
export function lacksChannel(cause: unknown): boolean {
  return asAmqpError(cause).message === NO_CHANNEL;
}

// Recognizes a limit in texts such as 'connection limit (1) is reached', 'queue limit in vhost … (5) is reached', 'number of
// channels opened … has reached the maximum allowed user limit of (12)', and amqplib's own text for the limit on the channels
// of a connection.
function limitIn(words: string): Limit | undefined {
  const found = /\b(connection|channel|queue|exchange)s?\b[^:]*\blimit\b.*\breached\b/i.exec(words);
  if (found !== null) return `${found[1]?.toLowerCase()}s` as Limit;
  if (/number of channels opened .*reached/.test(words) || words.includes(NO_CHANNEL)) return "channels";
  if (/number of connections .*reached/.test(words)) return "connections";
  if (/reached maximum \(\d+\) of consumers/.test(words)) return "consumers";
  return undefined;
}

function limitFailure(cause: unknown, what: string, words: string): ConfluoError {
  const limit = limitIn(words) as Limit;
  const text = `${what} because of a limit on ${limit}: ${reasonOf(words)}. ${limitAdvice[limit]}`;
  return new ConfluoError("UNAVAILABLE", text, { cause, data: { limit } });
}

const limitAdvice: Readonly<Record<Limit, string>> = {
  connections:
    "Each Broker takes two: let services share one, end what holds the others, or raise the limit.",
  channels:
    "A connection takes some, and a few more for each service: let fewer services share a Broker, or raise the limit (channel_max, channelMax in the URL, the user's max-channels).",
  consumers:
    "A service consumes each queue on a channel of its own, with up to eight consumers: raise the limit (consumer_max_per_channel).",
  queues:
    "A namespace takes eleven queues, and a service eight or fewer: delete what is not needed, or raise the limit.",
  exchanges:
    "A namespace takes five exchanges, and up to 26 for messages that wait: delete what is not needed, or raise the limit.",
};

const NO_CHANNEL = "No channels left to allocate";
const CANCELLED = "the broker cancelled the consumer";

/**
 * Returns the error for a consumer that the broker cancelled. The broker gives no reason, but a message that was held for long
 * hints at one: RabbitMQ 4.3 cancels the consumer after its consumer_timeout. Earlier versions close the channel.
 *
 * @param what the operation, in words that complete 'no longer lets this instance …'.
 * @param heldMs how long the consumer has held its oldest unsettled message, in milliseconds, if that is known.
 */
export function consumerCancelled(what: string, heldMs?: number): ConfluoError {
  const cause = new Error(CANCELLED);
  const cure = "Keep the timeoutMs of route and subscribe below the broker's consumer_timeout";
  const isTimeout = heldMs !== undefined && heldMs >= LEAST_TIMEOUT_MS;
  const why = isTimeout
    ? `a message was held for ${Math.round(heldMs)} ms, which is likely to be more than it allows. ${cure}.`
    : `its queue was deleted, a node went down, or a message was held for too long. For the last, ${cure[0]?.toLowerCase()}${cure.slice(1)}.`;
  return new ConfluoError("UNAVAILABLE", `The broker no longer lets this instance ${what}: ${why}`, {
    cause,
  });
}

/** The shortest consumer_timeout that is assumed, in milliseconds. */
const LEAST_TIMEOUT_MS = 60_000;

/** Returns the error for a failed operation such as a declare or a consume. `what` is the operation, as in 'could not …'. */
export function operationFailure(cause: unknown, what: string): ConfluoError {
  const { code, message } = asAmqpError(cause);
  const reason = reasonOf(message);
  if (limitIn(message) !== undefined) return limitFailure(cause, `The broker did not ${what}`, message);
  if (message === CANCELLED) return consumerCancelled(what);
  switch (code) {
    case 406: {
      const heldMs = /acknowledgement on channel \d+ timed out\. Timeout value used: (\d+) ms/.exec(
        reason,
      )?.[1];
      if (heldMs !== undefined) {
        const limit = "the broker's consumer_timeout. Keep the timeoutMs of route and subscribe below it";
        return new ConfluoError(
          "UNAVAILABLE",
          `The broker no longer lets this instance ${what}: a message was held for longer than ${heldMs} ms, ${limit}.`,
          { cause },
        );
      }
      return new ConfluoError("TOPOLOGY_CONFLICT", conflictMessage(what, reason), { cause });
    }
    case 403:
    case 405:
      return new ConfluoError("ACCESS_REFUSED", `The broker refused to ${what}: ${reason}.`, { cause });
    case 404:
      return new ConfluoError("UNAVAILABLE", `The broker could not ${what}: ${reason}.`, { cause });
    default:
      return new ConfluoError(
        "CONNECTION_LOST",
        `The connection broke while waiting to ${what}: ${reason}.`,
        { cause },
      );
  }
}

// An example of the text: inequivalent arg 'x-expires' for queue 'q' in vhost '/': received '1' but current is '2'
function conflictMessage(what: string, reason: string): string {
  const found = /inequivalent arg '([^']+)' for (\w+) '([^']+)'.*received (.+) but current is (.+)$/.exec(
    reason,
  );
  if (found === null) return `The broker refused to ${what}: ${reason}.`;
  const [, argument, kind, name, wanted, present] = found;
  return (
    `The ${kind} ${name} exists with ${argument} = ${present}, and confluo declares it with ${wanted}. ` +
    `Delete the ${kind} once it is empty, or use another namespace.`
  );
}

/** Returns whether a request failed because the queue or exchange does not exist, and not for another reason. */
export function isMissing(error: unknown, what: "queue" | "exchange"): boolean {
  if (!isConfluoError(error, "UNAVAILABLE")) return false;
  const { code, message } = asAmqpError(error.cause);
  return code === 404 && message.includes(`NOT_FOUND - no ${what}`);
}

/** Returns whether amqplib refused to write because a channel or connection is closed. Each of these also emits 'close'. */
export function isClosed(error: unknown): boolean {
  return error instanceof Error && error.name === "IllegalOperationError";
}

/** Returns the error for a message that amqplib cannot encode. It concerns only that message. */
export function unwritable(cause: unknown): ConfluoError {
  const { message } = asAmqpError(cause);
  const reason = reasonOf(message);
  return new ConfluoError("INVALID_ARGUMENT", `It cannot be encoded as an AMQP message: ${reason}.`, {
    cause,
  });
}

/** Returns the limit, in bytes, that the broker named when it refused a message for its size. */
export function sizeLimitIn(error: unknown): number | undefined {
  const found = /message size \d+ is larger than configured max size (\d+)/.exec(asAmqpError(error).message);
  return found === null ? undefined : Number(found[1]);
}

/** Returns the reason in amqplib's message: `… with message "PRECONDITION_FAILED - the reason"`. */
export function reasonOf(message: string): string {
  const quoted = /with message "(.*)"$/s.exec(message)?.[1] ?? message;
  return quoted
    .replace(/^[A-Z_]+ - /, "")
    .replace(/\s+/g, " ")
    .replace(/\.$/, "");
}

/** Returns the error that amqplib threw, with its code and message. Of an `AggregateError`, the first one. */
export function asAmqpError(error: unknown): AmqpError {
  if (error instanceof AggregateError && error.errors.length > 0) return asAmqpError(error.errors[0]);
  return error instanceof Error ? error : { message: String(error) };
}
