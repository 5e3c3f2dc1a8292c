/** Broker addresses as URLs: checked, and shown without their credentials. */

import { ConfluoError, invalidArgument } from "../../errors.ts";

/** One broker node to connect to. */
export interface BrokerUrl {
  /** With credentials: for the client only. */
  readonly href: string;
  /** Without credentials: for people. */
  readonly shown: string;
}

const HEARTBEAT_SECONDS = 10;

/**
 * Reads an `amqp://` or `amqps://` URL: user, password and vhost as RabbitMQ's URI specification has them.
 *
 * @throws `INVALID_ARGUMENT` without repeating the URL, since it may hold a password.
 */
export function parseBrokerUrl(text: string): BrokerUrl {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      "A broker address must be a URL such as amqp://user:password@host:5672/vhost; " +
        "characters like @ : / # in a user or password must be percent-encoded.",
    );
  }
  if (url.protocol !== "amqp:" && url.protocol !== "amqps:") {
    throw invalidArgument("The protocol of a broker address", "amqp:, amqps: or memory:", url.protocol);
  }
  if (url.hostname === "")
    throw invalidArgument("A broker address", "a URL that names a host", `${url.protocol}//`);
  if (!url.searchParams.has("heartbeat")) url.searchParams.set("heartbeat", String(HEARTBEAT_SECONDS));
  return { href: url.href, shown: `${url.protocol}//${url.host}${url.pathname === "/" ? "" : url.pathname}` };
}
