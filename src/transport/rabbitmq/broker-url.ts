/** Broker addresses as URLs: checked, and shown without their credentials. */

import { ConfluoError, invalidArgument, show } from "../../errors.ts";

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
  // The part behind a # does not belong to an AMQP URI: a vhost that has one would be cut short.
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

/** Other clients take these in a URL; here they have another place. */
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

// One is a part of the other, or two letters at most are mistyped.
function areNear(given: string, name: string): boolean {
  if (given.length > 3 && (given.includes(name) || name.includes(given))) return true;
  return distance(given.slice(0, 32), name) <= 2;
}

// Of Levenshtein: how many letters are added, left out or changed.
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
