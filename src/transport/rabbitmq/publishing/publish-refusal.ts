/** Whose fault it is that the broker closed a channel for publishing: its words name an exchange, a key or a size. */

import { ConfluoError } from "../../../errors.ts";
import type { PublishFailure, Route } from "../../amqp-client.ts";
import { asAmqpError, reasonOf, sizeLimitIn } from "../failure.ts";
import type { Refused } from "./refusals.ts";

/** A message that was under way on the channel. */
interface UnderWay {
  readonly route: Route;
  readonly body: Uint8Array;
}

/** Why a channel was closed, and for which messages. */
export interface PublishRefusal {
  readonly failure: PublishFailure;
  readonly why: ConfluoError;
  /** The first that was refused, by its place; `undefined` if the broker's words name none. */
  readonly first: number | undefined;
  /** Returns whether a message is one that the broker refuses. */
  names(message: UnderWay): boolean;
  /** The exchange or key that cannot be published to for now, if it is that. */
  readonly about: Refused | undefined;
  /** The limit on size, if it is that. */
  readonly maxBytes: number | undefined;
}

/** Reads what the broker said when it closed a channel, on which these messages, in their order, were under way. */
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
  // If there was but one, it is that one, whatever the words.
  if (at === -1 && underWay.length === 1 && only !== undefined)
    return { failure, why, first: 0, names: (one) => one === only, about: undefined, maxBytes };
  const culprit = underWay[at];
  if (culprit === undefined) return { failure, why, first: undefined, names, about: undefined, maxBytes };
  const about = maxBytes === undefined ? aboutOf(reason, culprit.route) : undefined;
  return { failure, why, first: at, names, about, maxBytes };
}

/** Returns what the broker's words say of a route: that its exchange, or its key there, is the one they are about. */
export function aboutOf(reason: string, { exchange, key }: Route): Refused | undefined {
  const name = exchange === "" ? "amq.default" : exchange;
  if (says(reason, `access to topic '${key}' in exchange '${name}'`)) return { exchange, key };
  if (says(reason, `access to exchange '${name}'`) || says(reason, `no exchange '${name}'`))
    return { exchange, key: undefined };
  return undefined;
}

// RabbitMQ cuts its words at 255 bytes.
function says(reason: string, words: string): boolean {
  if (reason.includes(words)) return true;
  if (!reason.endsWith("..")) return false;
  const start = reason.indexOf(words.slice(0, 15));
  return start !== -1 && words.startsWith(reason.slice(start).replace(/\.+$/, ""));
}
