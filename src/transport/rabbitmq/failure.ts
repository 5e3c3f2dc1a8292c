/** amqplib's and the broker's failures in confluo's words. */

import { ConfluoError, isConfluoError } from "../../errors.ts";

interface AmqpError {
  readonly code?: unknown;
  readonly message: string;
}

/** The error for a failed connection attempt. Never repeats a URL, which may hold a password. */
export function connectFailure(cause: unknown, address: string): ConfluoError {
  const { code, message } = asAmqpError(cause);
  // amqplib keeps the broker's words to itself when it refuses to open the vhost.
  if (message.includes("Expected ConnectionOpenOk; got <ConnectionClose")) {
    return new ConfluoError(
      "ACCESS_REFUSED",
      `The broker at ${address} refused to open the vhost of that address: it does not exist, or the user may not use it.`,
      { cause },
    );
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
      `What answers at ${address} does not speak TLS: use amqp://, or the port for TLS, which is 5671 by default.`,
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

// OpenSSL's message names addresses and source files; its reason is the part for people.
function tlsReasonOf(cause: unknown, message: string): string {
  const { reason } = cause as { readonly reason?: unknown };
  return /:SSL routines:/.test(message) && typeof reason === "string" ? reason : reasonOf(message);
}

function tlsAdvice(code: string): string {
  if (code.includes("ALTNAME"))
    return "Connect to a name that it is for, or give that as tls.servername of Broker.";
  if (code.includes("_ALERT_")) return "Give Broker tls.cert and tls.key that the broker accepts.";
  if (/SELF_SIGNED|ISSUER|UNABLE_TO/.test(code)) return "Give Broker the CA that signed it as tls.ca.";
  return "See the option tls of Broker.";
}

/** The error for a failed operation such as a declare or a consume. */
export function operationFailure(cause: unknown, what: string): ConfluoError {
  const { code, message } = asAmqpError(cause);
  const reason = reasonOf(message);
  switch (code) {
    case 406: {
      const heldMs = /acknowledgement on channel \d+ timed out\. Timeout value used: (\d+) ms/.exec(
        reason,
      )?.[1];
      if (heldMs !== undefined) {
        const limit = "the broker's consumer_timeout. Keep the timeoutMs of route and subscribe below it";
        return new ConfluoError(
          "UNAVAILABLE",
          `The broker ended what was to ${what}: a message was held for longer than ${heldMs} ms, ${limit}.`,
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

// RabbitMQ: inequivalent arg 'x-expires' for queue 'q' in vhost '/': received '1' but current is '2'
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

/** Whether a request failed since there is no such thing, and not since it is not available or nobody answered. */
export function isMissing(error: unknown, what: "queue" | "exchange"): boolean {
  if (!isConfluoError(error, "UNAVAILABLE")) return false;
  const { code, message } = asAmqpError(error.cause);
  return code === 404 && message.includes(`NOT_FOUND - no ${what}`);
}

/** Whether amqplib refused to write since a channel or connection is closed, which each also says by its 'close'. */
export function isClosed(error: unknown): boolean {
  return error instanceof Error && error.name === "IllegalOperationError";
}

/** The error for a message that amqplib cannot write: it is that message's own, and all else goes on. */
export function unwritable(cause: unknown): ConfluoError {
  const { message } = asAmqpError(cause);
  const reason = reasonOf(message);
  return new ConfluoError("INVALID_ARGUMENT", `It cannot be written as an AMQP message: ${reason}.`, {
    cause,
  });
}

/** The limit that the broker named when it refused a message for its size. */
export function sizeLimitIn(error: unknown): number | undefined {
  const found = /message size \d+ is larger than configured max size (\d+)/.exec(asAmqpError(error).message);
  return found === null ? undefined : Number(found[1]);
}

/** The reason inside amqplib's message: `… with message "PRECONDITION_FAILED - the reason"`. */
function reasonOf(message: string): string {
  const quoted = /with message "(.*)"$/s.exec(message)?.[1] ?? message;
  return quoted
    .replace(/^[A-Z_]+ - /, "")
    .replace(/\s+/g, " ")
    .replace(/\.$/, "");
}

function asAmqpError(error: unknown): AmqpError {
  if (error instanceof AggregateError && error.errors.length > 0) return asAmqpError(error.errors[0]);
  return error instanceof Error ? error : { message: String(error) };
}
