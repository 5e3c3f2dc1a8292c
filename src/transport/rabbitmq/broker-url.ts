/** Parses broker URLs, checks them, and removes the credentials for display. */

import { ConfluoError, invalidArgument, show } from "../../errors.ts";

/** The address of one broker node. */
export interface BrokerUrl {
  /** The URL with credentials; only for the client. */
  readonly href: string;
  /** The URL without credentials; for messages and logs. */
  readonly shown: string;
  readonly user: string;
  readonly password: string;
  readonly vhost: string;
  /** The largest frame in bytes that the URL requests; `undefined` if it requests none. */
  readonly frameMax: number | undefined;
}

const HEARTBEAT_SECONDS = 10;

/** The numeric parameters and their smallest values. AMQP's smallest frame has 4,096 bytes, that of RabbitMQ 4.1 has 8,192. */
const NUMBERS = [
  ["heartbeat", 0],
  ["frameMax", 4_096],
  ["channelMax", 16],
] as const;

/**
 * Parses an `amqp://` or `amqps://` URL. User, password and vhost are as in RabbitMQ's URI specification.
 *
 * @throws `INVALID_ARGUMENT`; the message does not contain the URL, because that may contain a password.
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
  // An unencoded /, ? or # in a password ends the host early. The rest of the password would then be taken for a vhost and
  // displayed.
  if (`${pathname}${url.search}${url.hash}`.includes("@")) {
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      "A broker address has an @ after its host. Write / in a user or password as %2F, ? as %3F and # as %23; an @ in the " +
        "name of a vhost as %40; several addresses as a list, not as one text.",
    );
  }
  // The fragment after a # is not part of an AMQP URI, so the name of a vhost with a # would be cut.
  if (url.hash !== "")
    throw new ConfluoError("INVALID_ARGUMENT", "A broker address must not contain #: write it as %23.");
  checkParameters(url.searchParams);
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

/** Parameters that other clients read from the URL, with their place in confluo. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  cacertfile: "the option tls of Broker",
  certfile: "the option tls of Broker",
  keyfile: "the option tls of Broker",
  password: "the option tls of Broker",
  verify: "the option tls of Broker",
  servernameindication: "the option tls of Broker",
  authmechanism: "the option tls of Broker",
  connectiontimeout: "the option timeoutMs of connect",
  vhost: "the path of the address",
  namespace: "the option namespace of Broker",
  maxbodybytes: "the option maxBodyBytes of Broker",
};

function checkParameters(parameters: URLSearchParams): void {
  const known = NUMBERS.map(([name]) => name);
  const seen = new Set<string>();
  for (const name of parameters.keys()) {
    if (!known.some((each) => each === name)) {
      const message = `A broker address has no parameter ${show(name)}, only ${known.join(", ")}.`;
      throw new ConfluoError("INVALID_ARGUMENT", `${message}${hint(name, known)}`);
    }
    if (seen.has(name))
      throw new ConfluoError("INVALID_ARGUMENT", `A broker address has the parameter ${name} twice.`);
    seen.add(name);
  }
}

function hint(name: string, known: readonly string[]): string {
  const plain = name.toLowerCase().replace(/[^a-z]/g, "");
  const place = Object.hasOwn(ELSEWHERE, plain) ? ELSEWHERE[plain] : undefined;
  if (place !== undefined) return ` Use ${place} instead.`;
  const near = known.find((each) => areNear(plain, each.toLowerCase()));
  return near === undefined ? "" : ` Did you mean ${near}?`;
}

// Returns whether one name contains the other, or at most two letters differ.
function areNear(given: string, name: string): boolean {
  if (given.length > 3 && (given.includes(name) || name.includes(given))) return true;
  return distance(given.slice(0, 32), name) <= 2;
}

// Returns the Levenshtein distance: the number of letters to add, remove or replace.
function distance(a: string, b: string): number {
  let before = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (const [row, letter] of [...a].entries()) {
    const next = [row + 1];
    for (let at = 0; at < b.length; at += 1) {
      const [diagonal = 0, above = 0, left = 0] = [before[at], before[at + 1], next[at]];
      next.push(Math.min(diagonal + (letter === b[at] ? 0 : 1), above + 1, left + 1));
    }
    before = next;
  }
  return before.at(-1) ?? 0;
}

const EXAMPLE =
  "Write it like amqp://user:password@host:5672/vhost or amqps://…, with characters like @ : / # in a user or password " +
  'percent-encoded; "memory:" is the embedded broker.';

// The default user of RabbitMQ, which may connect only from the broker's own host.
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
