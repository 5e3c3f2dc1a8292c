/** Turns the arguments of a verb into the message that is sent: reads and checks them, encodes the body, applies the limits. */

import { type AnyCommand, checkCommand } from "../contract/command.ts";
import { type AnyEvent, checkEvent } from "../contract/event.ts";
import { boundPath } from "../contract/path.ts";
import type { AnySchema } from "../contract/schema.ts";
import type { Logger } from "../logging/logger.ts";
import { checkOptions, type GivenOptions, type OptionNames } from "../options/checks.ts";
import type { CallOptions, SendOptions } from "../options/verb-options.ts";
import { checkCommandPath, checkName, eventKey, parseTarget } from "../protocol/address.ts";
import { checkHeaders, type EncodedBody, encodeBody, encodeQuery, header } from "../protocol/codec.ts";
import type { SessionSlot } from "../transport/session-slot.ts";
import { outgoingBody } from "../validation/sendable-body.ts";
import { tooLarge } from "./publish-errors.ts";

/** The receiver of a message and the contract and schema of its body, as the verb's arguments name them. */
interface Destination<Contract> {
  readonly verb: "call" | "send" | "publish";
  /** The service that a command is for; empty for an event. */
  readonly service: string;
  /** A path, perhaps with a query. */
  readonly target: string;
  readonly contract: Contract | undefined;
  readonly schema: AnySchema | undefined;
}

/** A message that is checked and encoded, but not sent yet. */
export interface PreparedMessage<Contract = AnyCommand | AnyEvent> {
  /** The service that a command is for; empty for an event. */
  readonly service: string;
  /** The routing key of an event; `undefined` for a command. */
  readonly key: string | undefined;
  readonly path: string;
  readonly contract: Contract | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly body: EncodedBody;
  /**
   * Resolves with the body to send, or rejects with `INVALID_INPUT`. The promise depends on the schema, which may take long or
   * never settle. `undefined` if there is nothing to wait for.
   */
  readonly validate: (() => Promise<EncodedBody>) | undefined;
  /**
   * The options as the caller gave them. Their names are checked here, including those of `call`. `Caller.call` and `Publisher`
   * check the values that they use: the timeout, the signal, the message id, the expiry, the delay.
   */
  readonly options: GivenOptions<SendOptions>;
}

/** The parts that a {@link MessagePreparer} works with. */
export interface PreparationDependencies {
  readonly logger: Pick<Logger, "warn">;
  readonly sessions: Pick<SessionSlot, "maxBodyBytes">;
  /** True if a service also validates what it sends. */
  readonly validates: boolean;
}

const messageOptions = { timeoutMs: true, signal: true, query: true, headers: true } as const;
const callOptions: OptionNames<CallOptions> = messageOptions;
const sendOptions: OptionNames<SendOptions> = {
  ...messageOptions,
  messageId: true,
  expiresMs: true,
  delayMs: true,
  at: true,
};
const noOptions: GivenOptions<SendOptions> = {};

function readOptions(
  verb: "call" | "send" | "publish",
  given: SendOptions | undefined,
): GivenOptions<SendOptions> {
  if (given === undefined) return noOptions;
  return verb === "call"
    ? checkOptions<CallOptions>(verb, given, callOptions)
    : checkOptions(verb, given, sendOptions);
}

/** Prepares the messages that a service sends. */
export class MessagePreparer {
  readonly #sessions: PreparationDependencies["sessions"];
  readonly #validates: boolean;
  readonly #misplaced: MisplacedOptions;

  constructor({ logger, sessions, validates }: PreparationDependencies) {
    this.#sessions = sessions;
    this.#validates = validates;
    this.#misplaced = new MisplacedOptions(logger);
  }

  /**
   * Prepares a command. `to` is the name of a service or a contract. `rest` is the path (only without a contract), the body and
   * the options.
   *
   * @throws a `ConfluoError` that says which argument is wrong.
   */
  command(
    verb: "call" | "send",
    to: string | AnyCommand,
    rest: readonly unknown[],
  ): PreparedMessage<AnyCommand> {
    if (typeof to === "string") {
      const [target, body, options] = rest as [string, unknown, SendOptions | undefined];
      const destination = { verb, service: to, target, contract: undefined, schema: undefined };
      return this.#prepare<AnyCommand>(destination, body, options);
    }
    checkCommand(to);
    const [body, options] = rest as [unknown, SendOptions | undefined];
    const { service, input: schema } = to;
    return this.#prepare({ verb, service, target: boundPath(to), contract: to, schema }, body, options);
  }

  /**
   * Prepares an event. `to` is a path or a contract. `rest` is the body and the options.
   *
   * @throws a `ConfluoError` that says which argument is wrong.
   */
  event(to: string | AnyEvent, rest: readonly unknown[]): PreparedMessage<AnyEvent> {
    const verb = "publish" as const;
    const [body, options] = rest as [unknown, SendOptions | undefined];
    if (typeof to === "string") {
      const destination = { verb, service: "", target: to, contract: undefined, schema: undefined };
      return this.#prepare<AnyEvent>(destination, body, options);
    }
    checkEvent(to);
    const destination = { verb, service: "", target: boundPath(to), contract: to, schema: to.body };
    return this.#prepare<AnyEvent>(destination, body, options);
  }

  // Encodes the body before it returns, because the sender may change the object afterwards.
  #prepare<Contract>(
    { verb, service, target, contract, schema }: Destination<Contract>,
    value: unknown,
    given: SendOptions | undefined,
  ): PreparedMessage<Contract> {
    if (given === undefined) this.#misplaced.look(verb, target, value, schema);
    const options = readOptions(verb, given);
    const isEvent = verb === "publish";
    if (!isEvent) checkName(service, "service");
    const { path, query: inPath } = parseTarget(target);
    const key = isEvent ? eventKey(path) : undefined;
    if (!isEvent) checkCommandPath(path);
    const query = encodeQuery(inPath, options.query);
    const own = options.headers === undefined ? undefined : checkHeaders(options.headers);
    const headers = query === "" ? own : { ...own, [header.query]: query };
    const most = this.#sessions.maxBodyBytes;
    if (schema === undefined || !this.#validates) {
      const body = encodeBody(value);
      if (body.length > most) throw tooLarge(path, body.length, most);
      return { service, key, path, contract, headers, body, validate: undefined, options };
    }
    const checked = { body: value, code: "INVALID_INPUT", what: `The body for ${path}` } as const;
    const { body, validate } = outgoingBody(schema, checked, (valid) => {
      if (valid.length > most) throw tooLarge(path, valid.length, most);
      return valid;
    });
    return { service, key, path, contract, headers, body, validate, options };
  }
}

/**
 * Warns when a body looks like options that were passed in its place: they would be sent as the body and would have no effect,
 * without any error. Warns once for each verb and path.
 */
export class MisplacedOptions {
  readonly #logger: Pick<Logger, "warn">;
  readonly #told = new Set<string>();

  constructor(logger: Pick<Logger, "warn">) {
    this.#logger = logger;
  }

  /** Checks a body that was given without options. A body with a schema is skipped, because the schema checks it. */
  look(
    verb: "call" | "send" | "publish",
    target: string,
    body: unknown,
    schema: AnySchema | undefined,
  ): void {
    if (schema !== undefined || typeof body !== "object" || body === null || !looksLikeOptions(body)) return;
    const place = `${verb} ${target}`;
    if (this.#told.has(place) || this.#told.size === MOST_TOLD) return;
    this.#told.add(place);
    const names = Object.keys(body).join(", ");
    const message = `A body for ${target} has only names of options (${names}), and ${verb} takes options after the body. If it is meant as the body, give {} as the options.`;
    this.#logger.warn({ verb, target }, message);
  }
}

// Paths may contain ids, so the number of different verbs and paths has no bound of its own.
const MOST_TOLD = 100;

// The first field is enough to rule out most bodies. Arrays and bytes are ruled out first, because they have one field per
// element.
function looksLikeOptions(body: object): boolean {
  if (Array.isArray(body) || ArrayBuffer.isView(body)) return false;
  let isOption = false;
  for (const name in body) {
    isOption =
      Object.hasOwn(optionValues, name) &&
      optionValues[name as keyof typeof optionValues]((body as Body)[name]);
    if (!isOption) return false;
  }
  return isOption;
}

type Body = Readonly<Record<string, unknown>>;

const isNumber = (value: unknown): boolean => typeof value === "number";
const isTable = (value: unknown): boolean =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const optionValues: Readonly<Record<keyof (CallOptions & SendOptions), (value: unknown) => boolean>> = {
  timeoutMs: isNumber,
  expiresMs: isNumber,
  delayMs: isNumber,
  at: (value) => value instanceof Date,
  signal: (value) => value instanceof AbortSignal,
  messageId: (value) => typeof value === "string",
  query: isTable,
  headers: isTable,
};
