/** Paths, routing keys, names and reply addresses, as they are written in code and as they travel. */

import { ConfluoError, invalidArgument, show } from "../errors.ts";
import type { Properties } from "./message.ts";

/** AMQP's limit on a routing key, a queue's name and the `type` property, in bytes (AMQP 0-9-1, `shortstr`). */
export const SHORT_STRING_BYTES = 255;

/**
 * Returns whether a text fits AMQP's short string. An unpaired surrogate does not: it has no UTF-8 form and would arrive as
 * another character.
 */
export function fitsShortString(text: string): boolean {
  // A UTF-16 unit takes at most three bytes, so short texts need no counting.
  const fits = text.length * 3 <= SHORT_STRING_BYTES || Buffer.byteLength(text) <= SHORT_STRING_BYTES;
  return fits && text.isWellFormed();
}

/** Returns whether a value is a text that fits AMQP's short string. */
export function isShortString(value: unknown): value is string {
  return typeof value === "string" && fitsShortString(value);
}

/**
 * Returns a text that fits AMQP's short string, or an empty text for anything else. Bytes that are not UTF-8 grow when they are
 * decoded as text, so the text may be too long to be written again.
 */
export function shortString(value: unknown): string {
  return isShortString(value) ? value : "";
}

/** A path and its query. */
export interface Target {
  /** The path, with a leading slash. */
  readonly path: string;
  /** The query after the `?`; empty if there is none. */
  readonly query: string;
}

/** Splits the target of a verb into path and query, and adds the leading slash if it is missing. */
export function parseTarget(target: string): Target {
  if (typeof target !== "string" || target === "")
    throw invalidArgument("A path", "a non-empty string", target);
  const mark = target.indexOf("?");
  if (mark === -1) return { path: withSlash(target), query: "" };
  return { path: withSlash(target.slice(0, mark)), query: target.slice(mark + 1) };
}

/** Returns the path with a leading slash. Users may leave it out; inside confluo every path has it. */
export function withSlash(path: string): string {
  return path.charCodeAt(0) === 47 ? path : `/${path}`;
}

/**
 * Checks the path of a command, and that it fits the `type` property.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function checkCommandPath(path: string): string {
  checkText(path, "path");
  return checkLength(path, "path", path);
}

/**
 * Returns the routing key of an event.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function eventKey(path: string): string {
  checkText(path, "path");
  const bare = withSlash(path).slice(1);
  if (bare === "") throw invalidArgument("The path of an event", "more than a slash", path);
  return checkLength(encodeSegments(bare), "path", path);
}

/**
 * Returns the binding key of a subscription's pattern. `*` stands for one segment, `#` for any number of them, and a segment
 * `:name` is a `*` with a name.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function bindingKey(pattern: string): string {
  checkText(pattern, "pattern");
  const bare = withSlash(pattern).slice(1);
  if (bare === "") throw invalidArgument("The pattern of a subscription", "more than a slash", pattern);
  const words = bare.split("/").map((segment) => {
    if (segment === "*" || segment === "#") return segment;
    if (isParameter(segment)) return "*";
    if (segment.includes("*") || segment.includes("#")) {
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        `The pattern ${show(pattern)} has a wildcard inside the segment ${show(segment)}: ` +
          "* and # stand for whole segments, as in /order/*/placed and /order/#.",
      );
    }
    return encodeSegments(segment);
  });
  if (words.filter((word) => word === "#").length > MOST_HASHES) {
    throw invalidArgument(
      "A pattern",
      `one with at most ${MOST_HASHES} #, since RabbitMQ 4.3 refuses more`,
      pattern,
    );
  }
  return checkLength(words.join("."), "pattern", pattern);
}

const MOST_HASHES = 2;

// With a regular expression, `replace` takes V8 half as long as with a string.
const slashes = /\//g;
const dots = /\./g;

/** Returns the path of an event from its routing key. The inverse of {@link eventKey}. */
export function pathOfKey(key: string): string {
  const path = `/${key.replace(dots, "/")}`;
  return path.includes("%") ? path.replace(/%(2E|2A|23|25)/gi, (_, code: string) => decoded(code)) : path;
}

/**
 * Returns whether a segment of a pattern is a parameter, such as `:id`.
 *
 * @throws `INVALID_ARGUMENT` if it begins with a colon but is not a valid parameter, such as `:order-id`.
 */
export function isParameter(segment: string): boolean {
  if (segment.charCodeAt(0) !== 58) return false;
  if (/^:[A-Za-z_][A-Za-z0-9_]*$/.test(segment)) return true;
  throw invalidArgument(
    "A parameter in a pattern",
    "a colon and a name of letters, digits and _, such as :orderId",
    segment,
  );
}

function decoded(code: string): string {
  return String.fromCharCode(Number.parseInt(code, 16));
}

// In a key, `.` separates words and `*` and `#` are wildcards. `%` escapes these characters; all others are sent as UTF-8.
function encodeSegments(path: string): string {
  const escaped = /[.*#%]/.test(path)
    ? path.replace(/[.*#%]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    : path;
  return escaped.replace(slashes, ".");
}

function checkText(text: string, what: string): void {
  if (typeof text !== "string" || text === "") throw invalidArgument(`A ${what}`, "a non-empty string", text);
  // An unpaired surrogate has no UTF-8 form and would arrive as another character.
  if (!text.isWellFormed()) throw invalidArgument(`A ${what}`, "well-formed Unicode", text);
  if (text.includes("\0")) throw invalidArgument(`A ${what}`, "free of NUL characters", text);
}

function checkLength(encoded: string, what: string, original: string): string {
  if (fitsShortString(encoded)) return encoded;
  const bytes = Buffer.byteLength(encoded);
  throw new ConfluoError(
    "INVALID_ARGUMENT",
    `The ${what} ${show(original)} takes ${bytes} bytes on the wire and AMQP allows ${SHORT_STRING_BYTES}: shorten it.`,
  );
}

// The most bytes of each name. Together with the longest suffix, `.inbox.<b>.again`, with a dot between them, and with the 26
// digits of a wait, they fit into the 255 bytes of a routing key.
const SERVICE_BYTES = 120;
const NAMESPACE_BYTES = 60;

const NAME = /^[\p{L}\p{M}\p{N}_~+@:-]+$/u;

/** Returns whether a value can be the name of a service. */
export function isServiceName(name: unknown): name is string {
  return typeof name === "string" && NAME.test(name) && Buffer.byteLength(name) <= SERVICE_BYTES;
}

/**
 * Checks the name of a service or a namespace, which becomes part of queue names. Returns the name.
 *
 * @throws `INVALID_ARGUMENT`.
 */
export function checkName(name: string, what: "service" | "namespace"): string {
  if (typeof name !== "string" || name === "") {
    throw invalidArgument(`The name of a ${what}`, "a non-empty string", name);
  }
  if (!NAME.test(name)) {
    throw invalidArgument(
      `The name of a ${what}`,
      "letters, digits and any of - _ ~ + @ : (no dot, space or slash)",
      name,
    );
  }
  const most = what === "service" ? SERVICE_BYTES : NAMESPACE_BYTES;
  if (Buffer.byteLength(name) > most) {
    throw invalidArgument(
      `The name of a ${what}`,
      `at most ${most} bytes long, so that routing keys fit AMQP's 255`,
      name,
    );
  }
  if (what === "namespace" && name === "amq") {
    throw invalidArgument("A namespace", "another name than amq, which RabbitMQ keeps for itself", name);
  }
  return name;
}

/** The prefix of direct reply-to addresses. RabbitMQ closes the connection of a client that publishes to a forged one. */
const DIRECT_REPLY_TO = "amq.rabbitmq.reply-to";

/** Returns whether a `reply_to` is an address of RabbitMQ's direct reply-to and not a queue. */
export function isDirectReplyTo(replyTo: string): boolean {
  return replyTo.startsWith(DIRECT_REPLY_TO);
}

// Queues of services in any namespace, also those of later releases. An answer in one of them would be handled as a command, dead-lettered or passed on.
const SERVICE_QUEUE =
  /^[^.]+\.(?:[^.]+\.(?:calls|inbox|dead|clock|cancelled|ordered|cursor|batch|limit)(?:\.[^.]+)*|orphans|history(?:\.[^.]+)*|(?:wait|returned|delay)\.\d+)$/;

/**
 * Returns the reason why a message cannot be answered, in words that complete 'it cannot be answered: …'; `undefined` if it can
 * be. Invalid UTF-8 grows when it is read, perhaps beyond what can be written again. In the queue of a service, the answer would
 * be taken for work.
 */
export function whyNoReturn({ replyTo, correlationId }: Properties): string | undefined {
  if (typeof replyTo !== "string" || replyTo === "") return "it names no reply_to";
  if (!fitsShortString(replyTo)) return "its reply_to is too long, as text, to be written again";
  if (typeof correlationId === "string" && !fitsShortString(correlationId))
    return "its correlation_id is too long, as text, to be written again";
  // Most reply queues are named by RabbitMQ.
  if (!replyTo.startsWith("amq.") && SERVICE_QUEUE.test(replyTo))
    return "its reply_to is the queue of a service, which would take the answer for work";
  return undefined;
}
