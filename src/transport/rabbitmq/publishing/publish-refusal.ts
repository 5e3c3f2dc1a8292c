/** Finds the message for which the broker closed a channel. The broker's text names an exchange, a key or a size. */

import { ConfluoError } from "../../../errors.ts";
import type { PublishFailure, Route } from "../../amqp-client.ts";
import { asAmqpError, reasonOf, sizeLimitIn } from "../failure.ts";
import type { Refused } from "./refusals.ts";

/** A message that was published on the channel and not confirmed. */
interface UnderWay {
  readonly route: Route;
  readonly body: Uint8Array;
}

/** The reason why a channel was closed, and the messages that it concerns. */
export interface PublishRefusal {
  readonly failure: PublishFailure;
  readonly why: ConfluoError;
  /** The index of the first message that was refused; `undefined` if the broker's text names none. */
  readonly first: number | undefined;
  /** Returns whether the broker refuses this message. */
  names(message: UnderWay): boolean;
  /** The exchange or key that cannot be published to at the moment, if that is the reason. */
  readonly about: Refused | undefined;
  /** The limit on the size of a body in bytes, if that is the reason. */
  readonly maxBytes: number | undefined;
}

/** Reads the broker's error when it closed a channel. `underWay` are the unconfirmed messages on it, in order. */
export function refusalOfPublish(error: unknown, underWay: readonly UnderWay[]): PublishRefusal {
  const { code, message } = asAmqpError(error);
  const maxBytes = sizeLimitIn(error);
  const reason = reasonOf(message);
  const isForbidden = code === 403;
  const why = new ConfluoError(
    isForbidden ? "ACCESS_REFUSED" : maxBytes === undefined ? "UNAVAILABLE" : "PAYLOAD_TOO_LARGE",
    isForbidden
      ? `${reason}. Does its user have the right to write there, and is its token still valid?`
      : `${reason}.`,
    { cause: error },
  );
  const failure = isForbidden ? "forbidden" : maxBytes === undefined ? "refused" : "too-large";
  const names = (one: UnderWay): boolean =>
    maxBytes === undefined ? aboutOf(reason, one.route) !== undefined : one.body.length > maxBytes;
  const at = underWay.findIndex(names);
  const [only] = underWay;
  // A single message must be the refused one, whatever the text says.
  if (at === -1 && underWay.length === 1 && only !== undefined)
    return { failure, why, first: 0, names: (one) => one === only, about: undefined, maxBytes };
  const culprit = underWay[at];
  if (culprit === undefined) return { failure, why, first: undefined, names, about: undefined, maxBytes };
  const about = maxBytes === undefined ? aboutOf(reason, culprit.route) : undefined;
  return { failure, why, first: at, names, about, maxBytes };
}

/** Returns the exchange, or its key, if the broker's text is about that of this route. */
export function aboutOf(reason: string, { exchange, key }: Route): Refused | undefined {
  const name = exchange === "" ? "amq.default" : exchange;
  if (says(reason, `access to topic '${key}' in exchange '${name}'`)) return { exchange, key };
  if (says(reason, `access to exchange '${name}'`) || says(reason, `no exchange '${name}'`))
    return { exchange, key: undefined };
  return undefined;
}

// RabbitMQ cuts its text at 255 bytes.
function says(reason: string, words: string): boolean {
  if (reason.includes(words)) return true;
  if (!reason.endsWith("..")) return false;
  const start = reason.indexOf(words.slice(0, 15));
  return start !== -1 && words.startsWith(reason.slice(start).replace(/\.+$/, ""));
}
