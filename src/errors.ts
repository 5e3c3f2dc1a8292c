/**
 * Every error that confluo itself raises has a `code` from one closed table. Errors are recognised by a registered symbol and
 * their code, never by `instanceof`, so that two copies of the package in one process recognise each other's errors.
 */

/** Code, HTTP-like status and meaning of each of confluo's own errors. `docs/errors.md` explains every row. */
export const errorTable = {
  NO_SUCH_SERVICE: { status: 503, meaning: "No queue of that service exists: it never ran here or is gone." },
  NO_SUCH_ROUTE: { status: 404, meaning: "The service is there and has no route for that path." },
  INVALID_INPUT: { status: 400, meaning: "The input or event body does not satisfy the contract." },
  INVALID_OUTPUT: {
    status: 500,
    meaning: "What the handler returned does not satisfy the contract or is not JSON.",
  },
  HANDLER_FAILED: { status: 500, meaning: "The handler threw an error that is not a ServiceError." },
  SERVICE_ERROR: { status: 500, meaning: "The handler refused on purpose, without a code of its own." },
  TIMEOUT: { status: 504, meaning: "The deadline passed first." },
  CANCELLED: { status: 499, meaning: "The caller's signal fired." },
  CONNECTION_LOST: { status: 502, meaning: "The connection broke while waiting: the outcome is unknown." },
  INSTANCE_LOST: { status: 502, meaning: "Each instance that had the message was lost." },
  UNAVAILABLE: {
    status: 503,
    meaning: "The broker refuses temporarily: a queue is not available, or a limit is reached.",
  },
  NO_SUBSCRIPTION: { status: 404, meaning: "An event arrived, but this service no longer subscribes to it." },
  NOT_CONNECTED: { status: 503, meaning: "The service is not connected." },
  SHUTTING_DOWN: { status: 503, meaning: "The service stopped before the outcome was known." },
  OVERLOADED: { status: 503, meaning: "Too much is already waiting." },
  PAYLOAD_TOO_LARGE: { status: 413, meaning: "The body is larger than the broker accepts." },
  MALFORMED_MESSAGE: { status: 400, meaning: "The message does not follow the protocol." },
  TOPOLOGY_CONFLICT: { status: 500, meaning: "A queue or exchange exists with other arguments." },
  ALREADY_REGISTERED: { status: 409, meaning: "That path has a handler already." },
  INVALID_ARGUMENT: { status: 400, meaning: "An argument or option is not valid." },
  BROKER_UNREACHABLE: { status: 503, meaning: "No broker answered at the given address." },
  ACCESS_REFUSED: { status: 403, meaning: "The broker refused the credentials, the vhost or an operation." },
  NO_BROKER_ADDRESS: { status: 500, meaning: "No broker address was given and NODE_ENV is production." },
} as const;

/** The codes of confluo's own errors. */
export type ErrorCode = keyof typeof errorTable;

/** Codes that later releases will use. A service cannot use them, so that it works with those releases, too. */
export const reservedCodes = ["STREAM_EXPECTED", "NO_STORE", "NO_HISTORY", "NO_STREAMS"] as const;

/** A code that a service cannot use for its own errors. */
export type OwnCode = ErrorCode | (typeof reservedCodes)[number];

const brand: unique symbol = Symbol.for("confluo.error") as never;
/**
 * Distinguishes the classes. A name cannot, because a subclass may have any name; neither can `instanceof` across copies of the
 * package.
 */
const kindBrand: unique symbol = Symbol.for("confluo.error.kind") as never;

/**
 * The source of an error. `own`: confluo raised it on this side. `service`: a handler threw it deliberately. `remote`: it is
 * the answer to a call.
 */
export type ErrorKind = "own" | "service" | "remote";

/** The parts of an error besides its message. */
export interface ErrorDetails {
  /** Any value that JSON can carry and that helps to handle the error. */
  readonly data?: unknown;
  readonly cause?: unknown;
}

/** Base of all errors that confluo raises. Recognise them with {@link isConfluoError}. */
export class ConfluoError<Code extends string = string> extends Error {
  /** One of {@link ErrorCode}, or the code of a declared error. */
  readonly code: Code;
  /** HTTP-like status. */
  readonly status: number;
  /** Data of the error, such as the problems of an invalid input. */
  declare readonly data: unknown;

  constructor(
    code: Code,
    message: string,
    details: ErrorDetails & { readonly status?: number | undefined } = {},
  ) {
    // An empty message is not passed on, because it would define a field that hides the `message` getter of a subclass.
    super(
      message === "" ? undefined : message,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.status = details.status ?? (isErrorCode(code) ? errorTable[code].status : 500);
    // Not defined without data, because every printed error would show it.
    if (details.data !== undefined) this.data = details.data;
    Object.defineProperty(this, brand, { value: "confluo" });
  }

  static {
    describeClass(ConfluoError.prototype, "ConfluoError", "own");
  }
}

/**
 * Defines the name and kind of a class on its prototype, so that a printed error does not repeat them among its fields. A
 * subclass may override the name with a field, an assignment or a getter, as with JavaScript's own errors.
 */
function describeClass(prototype: ConfluoError, name: string, kind: ErrorKind): void {
  Object.defineProperty(prototype, "name", { value: name, writable: true, configurable: true });
  Object.defineProperty(prototype, kindBrand, { value: kind });
}

/** Options of a {@link ServiceError}. */
export interface ServiceErrorOptions extends ErrorDetails {
  /** 400 to 599. Default: 500. */
  readonly status?: number | undefined;
  /** A code of your own, which the caller sees. Default: `SERVICE_ERROR`. Codes of confluo's own are refused. */
  readonly code?: string | undefined;
  /**
   * Advice for one-way commands and events. `"never"`: the message becomes a dead letter at once, because a retry would not
   * help. `{ afterMs }`: the message is retried after that many milliseconds, 30 days at most, if it has tries left. Default:
   * the retry options of the route or subscription.
   */
  readonly retry?: RetryAdvice | undefined;
}

/** The longest delay before a retry, in milliseconds: 30 days. */
export const LONGEST_RETRY_MS: number = 30 * 24 * 60 * 60 * 1_000;

/** An error's advice on retries. `afterMs` is at most 30 days. */
export type RetryAdvice = "never" | { readonly afterMs: number };

/**
 * An error that a handler throws for its caller: message, status, code and data reach the caller unchanged. The same is true
 * for an instance of a subclass, whatever its `name`.
 *
 * @example throw new ServiceError("no such order", { status: 404, code: "NO_SUCH_ORDER", data: { id } });
 * @throws `INVALID_ARGUMENT` for a status outside 400 to 599, a code that belongs to confluo, or a `retry` that is not valid.
 */
export class ServiceError<Code extends string = string> extends ConfluoError<Code> {
  /** Advice on retries, for one-way commands and events. */
  declare readonly retry?: RetryAdvice;

  constructor(message: string, options: ServiceErrorOptions & { readonly code?: Code | undefined } = {}) {
    if (typeof message !== "string")
      throw invalidArgument("the message of a ServiceError", "a string", message);
    if (typeof options !== "object" || options === null)
      throw invalidArgument("the options of a ServiceError", "an object", options);
    const { status = 500, code = "SERVICE_ERROR" as Code } = options;
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw invalidArgument("the status of a ServiceError", "a whole number from 400 to 599", status);
    }
    if (typeof code !== "string" || code === "" || (isOwnCode(code) && code !== "SERVICE_ERROR")) {
      throw invalidArgument("the code of a ServiceError", "a code of your own, none of confluo's", code);
    }
    super(code, message, { ...options, status });
    if (options.retry === undefined) return;
    const { retry } = options;
    if (adviceOf(retry) === undefined) {
      const expected = '"never" or { afterMs }, a number of milliseconds above 0 and at most 30 days';
      const given = typeof retry === "object" && retry !== null ? retry.afterMs : retry;
      throw invalidArgument("the option retry of a ServiceError", expected, given);
    }
    this.retry = retry;
  }

  static {
    describeClass(ServiceError.prototype, "ServiceError", "service");
  }
}

/** The error that rejects a call when the answer has a status of 400 or more. */
export class RemoteError<Code extends string = string> extends ConfluoError<Code> {
  /** The service that answered. */
  readonly service: string;
  /** The path that was called. */
  readonly path: string;

  constructor(code: Code, message: string, origin: RemoteOrigin & ErrorDetails) {
    super(code, message, origin);
    this.service = origin.service;
    this.path = origin.path;
  }

  static {
    describeClass(RemoteError.prototype, "RemoteError", "remote");
  }
}

/** The origin of a {@link RemoteError}. */
export interface RemoteOrigin {
  readonly service: string;
  readonly path: string;
  readonly status: number;
}

/**
 * Returns whether a value is an error of confluo, made by any copy of the package. If a code is given, the error must have that
 * code. Never throws, whatever the value is.
 *
 * @example if (isConfluoError(error, "TIMEOUT")) retryLater();
 */
export function isConfluoError<Code extends ErrorCode = never>(
  error: unknown,
  code?: Code,
): error is ConfluoError<[Code] extends [never] ? string : Code> {
  if (typeof error !== "object" || error === null || fieldOf(error, brand) !== "confluo") return false;
  return code === undefined || fieldOf(error, "code") === code;
}

/** Returns whether a code belongs to confluo. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorTable, code);
}

/** Returns whether a code belongs to confluo, now or in a later release. */
export function isOwnCode(code: string): code is OwnCode {
  return isErrorCode(code) || reservedCodes.some((reserved) => reserved === code);
}

/** Makes an `INVALID_ARGUMENT` error that names the argument, what was expected and what was received. */
export function invalidArgument(
  what: string,
  expected: string,
  received: unknown,
): ConfluoError<"INVALID_ARGUMENT"> {
  return new ConfluoError("INVALID_ARGUMENT", `${what} must be ${expected}, got ${show(received)}.`);
}

/** Renders any value in a short, safe form for an error message. */
export function show(value: unknown): string {
  switch (typeof value) {
    case "string": {
      const text = JSON.stringify(withoutCredentials(value));
      return text.length > 80 ? `${text.slice(0, 77)}…" (${value.length} characters)` : text;
    }
    case "function":
      return "a function";
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? `an array of ${value.length}` : `an object of type ${typeName(value)}`;
    case "bigint":
      return `${value}n`;
    default:
      return String(value);
  }
}

// Removes the password from a broker's address that was passed in the wrong place, such as that of the options.
function withoutCredentials(text: string): string {
  const start = text.indexOf("://");
  const end = text.lastIndexOf("@");
  return start === -1 || end < start ? text : `${text.slice(0, start + 3)}…${text.slice(end)}`;
}

/** Cuts a text to a number of characters, and makes it well-formed so that it can be encoded as UTF-8. */
export function clip(text: string, length: number): string {
  return (text.length > length ? `${text.slice(0, length - 1)}…` : text).toWellFormed();
}

function typeName(value: object): string {
  const made = value as { readonly constructor?: { readonly name?: unknown } };
  const name = made.constructor?.name;
  return typeof name === "string" && name !== "" ? name : "Object";
}

/** An error in the body of an error reply. `docs/protocol.md` specifies it. */
export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly data?: unknown;
}

/**
 * Converts a value that a handler threw to the error that its caller may see. A {@link ServiceError} stays as it is. Any other
 * value, including a {@link RemoteError} from a further call, becomes `HANDLER_FAILED` with its message and without its stack.
 * The status of such an error is ignored, because it may be the answer of another system, such as an HTTP server.
 */
export function thrownToWire(thrown: unknown): { readonly status: number; readonly error: WireError } {
  const { message, ours } = describeThrown(thrown);
  if (ours?.kind === "service") return wired(message, ours);
  return { status: errorTable.HANDLER_FAILED.status, error: { code: "HANDLER_FAILED", message } };
}

/** Converts an error that the receiving side itself answers with, such as `NO_SUCH_ROUTE`. */
export function refusalToWire(refusal: unknown): { readonly status: number; readonly error: WireError } {
  const { message, ours } = describeThrown(refusal);
  return ours === undefined ? thrownToWire(refusal) : wired(message, ours);
}

function wired(
  message: string,
  { code, status, data }: OurFields,
): { readonly status: number; readonly error: WireError } {
  return { status, error: data === undefined ? { code, message } : { code, message, data } };
}

/** The fields that an error of confluo has in addition to its name, message and stack. */
export interface OurFields {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly status: number;
  readonly data: unknown;
  readonly retry: RetryAdvice | undefined;
}

/** The name, message and fields of any value that was thrown. */
export interface Thrown {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  /** Present if it is an error of confluo. */
  readonly ours: OurFields | undefined;
}

/**
 * Describes a value that was thrown. Never throws itself, although a getter or a proxy may throw. A field that has the wrong
 * type or cannot be read counts as missing. A string is its own message; an object that is not an error may have a message.
 */
export function describeThrown(thrown: unknown): Thrown {
  const nameless = { name: "Error", stack: "", ours: undefined };
  if (typeof thrown === "string" && thrown !== "") return { ...nameless, message: thrown };
  if (typeof thrown !== "object" || thrown === null)
    return { ...nameless, message: `${show(thrown)} was thrown` };
  const [given, message, stack] = [fieldOf(thrown, "name"), messageOf(thrown), fieldOf(thrown, "stack")];
  const name = typeof given === "string" ? given : "Error";
  const ours = isConfluoError(thrown) ? ourFields(thrown) : undefined;
  // A handler may deliberately refuse without a message. Any other error without one, such as an AggregateError, is described
  // by its name.
  const isWordless = message === "" && ours === undefined;
  return {
    name,
    message: isWordless ? `${name} without a message` : (message ?? `${describeObject(thrown)} was thrown`),
    stack: typeof stack === "string" ? stack : "",
    ours,
  };
}

// Some validators and web frameworks throw lists of messages.
function messageOf(thrown: object): string | undefined {
  const message = fieldOf(thrown, "message");
  if (typeof message === "string") return message;
  try {
    if (!Array.isArray(message) || message.length === 0) return undefined;
    return message.every((each) => typeof each === "string") ? message.join("; ") : undefined;
  } catch {
    return undefined;
  }
}

function describeObject(value: object): string {
  try {
    return show(value);
  } catch {
    return "something that cannot be described";
  }
}

/** Returns a field of any object; `undefined` if it cannot be read. */
function fieldOf(value: object, field: string | symbol): unknown {
  try {
    return (value as Readonly<Record<string | symbol, unknown>>)[field];
  } catch {
    return undefined;
  }
}

function ourFields(error: object): OurFields {
  const [kind, code, status] = [fieldOf(error, kindBrand), fieldOf(error, "code"), fieldOf(error, "status")];
  const isService = kind === "service";
  // A field of a subclass was not checked by the constructor. A code of confluo would wrongly say that confluo failed.
  const isCode = typeof code === "string" && code !== "" && !(isService && isOwnCode(code));
  const isStatus = typeof status === "number" && Number.isInteger(status) && status >= 400 && status <= 599;
  return {
    kind: isService || kind === "remote" ? kind : "own",
    code: isCode ? code : "SERVICE_ERROR",
    status: isStatus ? status : 500,
    data: fieldOf(error, "data"),
    retry: adviceOf(fieldOf(error, "retry")),
  };
}

function adviceOf(retry: unknown): RetryAdvice | undefined {
  if (retry === "never") return retry;
  if (typeof retry !== "object" || retry === null) return undefined;
  const afterMs = fieldOf(retry, "afterMs");
  return typeof afterMs === "number" && afterMs > 0 && afterMs <= LONGEST_RETRY_MS ? { afterMs } : undefined;
}

/** Makes the caller's error for a reply that carries a {@link WireError}. */
export function errorFromWire(error: Partial<WireError>, origin: RemoteOrigin): RemoteError {
  const code = typeof error.code === "string" && error.code !== "" ? error.code : "SERVICE_ERROR";
  const message =
    typeof error.message === "string"
      ? error.message
      : `${origin.service} answered with status ${origin.status}`;
  return new RemoteError(code, message, { ...origin, data: error.data });
}
