/** Broker addresses as URLs: checked, and shown without their credentials. */

import { ConfluoError, invalidArgument } from "../../errors.ts";

/** One broker node to connect to. */
export interface BrokerUrl {
  /** With credentials: for the client only. */
  readonly href: string;
  /** Without credentials: for people. */
  readonly shown: string;
  readonly user: string;
  readonly password: string;
  readonly vhost: string;
  /** The largest frame, in bytes, that the URL asks for, if it does. */
  readonly frameMax: number | undefined;
}

const HEARTBEAT_SECONDS = 10;

/** Parameters that are numbers, and their bounds: AMQP's smallest frame has 4,096 bytes, RabbitMQ 4.1's 8,192. */
const NUMBERS = [
  ["heartbeat", 0],
  ["frameMax", 4_096],
  ["channelMax", 16],
] as const;

/**
 * Reads an `amqp://` or `amqps://` URL: user, password and vhost as RabbitMQ's URI specification has them.
 *
 * @throws `INVALID_ARGUMENT` without repeating the URL, since it may hold a password.
 */
export function parseBrokerUrl(text: string): BrokerUrl {
  if (!/^\w+:\/\//.test(text)) {
    throw new ConfluoError("INVALID_ARGUMENT", `A broker address must be a URL. ${EXAMPLE}`);
  }
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new ConfluoError("INVALID_ARGUMENT", `A broker address is not a valid URL. ${EXAMPLE}`);
  }
  const { protocol, hostname, host, port, pathname } = url;
  if (protocol !== "amqp:" && protocol !== "amqps:") {
    throw invalidArgument("The protocol of a broker address", "amqp:, amqps: or memory:", protocol);
  }
  if (hostname === "") throw invalidArgument("A broker address", "a URL that names a host", `${protocol}//`);
  // An unencoded /, ? or # in a password ends the host early, and the rest of it would pass for a vhost, to be shown.
  if (`${pathname}${url.search}${url.hash}`.includes("@")) {
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      "A broker address has an @ after its host. Write / in a user or password as %2F, ? as %3F and # as %23; an @ in the " +
        "name of a vhost as %40; several addresses as a list, not as one text.",
    );
  }
  for (const [name, least] of NUMBERS) {
    const value = url.searchParams.get(name);
    if (value !== null && !(/^\d{1,9}$/.test(value) && Number(value) >= least))
      throw invalidArgument(
        `The parameter ${name} of a broker address`,
        `a whole number, ${least} or more`,
        value,
      );
  }
  if (!url.searchParams.has("heartbeat")) url.searchParams.set("heartbeat", String(HEARTBEAT_SECONDS));
  const isAnonymous = url.username === "" && url.password === "";
  const user = isAnonymous ? DEFAULT_USER : decoded(url.username);
  const password = isAnonymous ? DEFAULT_USER : decoded(url.password);
  const vhost = decoded(pathname.slice(1)) || "/";
  const frameMax = url.searchParams.get("frameMax");
  const place = port === "" ? `${host}:${protocol === "amqps:" ? 5671 : 5672}` : host;
  return {
    href: url.href,
    shown: `${protocol}//${place}${pathname === "/" ? "" : pathname}`,
    user,
    password,
    vhost,
    frameMax: frameMax === null ? undefined : Number(frameMax),
  };
}

const EXAMPLE =
  "Write it like amqp://user:password@host:5672/vhost or amqps://…, with characters like @ : / # in a user or password " +
  'percent-encoded; "memory:" is the embedded broker.';

// RabbitMQ's own default, for connections from its own host.
const DEFAULT_USER = "guest";

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      "The user, password or vhost of a broker address is not percent-encoded UTF-8: write % as %25.",
    );
  }
}
