/** From what a verb was given to the message that it sends: read, checked, encoded and bounded. */

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

/** Where a message goes, and what its body must be, as a verb was told. */
interface Destination<Contract> {
  readonly verb: "call" | "send" | "publish";
  /** Of a command; empty for an event. */
  readonly service: string;
  /** A path, perhaps with a query. */
  readonly target: string;
  readonly contract: Contract | undefined;
  readonly schema: AnySchema | undefined;
}

/** A message before it goes out. */
export interface PreparedMessage<Contract = AnyCommand | AnyEvent> {
  /** Of a command; empty for an event. */
  readonly service: string;
  /** The routing key of an event; `undefined` for a command. */
  readonly key: string | undefined;
  readonly path: string;
  readonly contract: Contract | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly body: EncodedBody;
  /**
   * Resolves with the body to send, or rejects with `INVALID_INPUT`. Waits for the schema, which may take its time or never
   * end; absent if nothing is to be waited for.
   */
  readonly validate: (() => Promise<EncodedBody>) | undefined;
  /**
   * Options as given, with known names: those of `call`, too. Their values are checked where they are used: how the message
   * travels and how long it may take, in `Caller.call` and in `Publisher`.
   */
  readonly options: GivenOptions<SendOptions>;
}

/** The parts that messages are prepared with. */
export interface PreparationDependencies {
  readonly logger: Pick<Logger, "warn">;
  readonly sessions: Pick<SessionSlot, "maxBodyBytes">;
  /** True if the sending side validates, too. */
  readonly validates: boolean;
}

const messageOptions = { timeoutMs: true, signal: true, query: true, headers: true } as const;
const callOptions: OptionNames<CallOptions> = messageOptions;
const sendOptions: OptionNames<SendOptions> = { ...messageOptions, messageId: true, expiresMs: true };
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

/** Prepares what a service sends. */
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
   * Prepares a command for a service, or of a contract. `rest` is the path, unless there is a contract, the body, the options.
   *
   * @throws what is wrong with the arguments.
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
   * Prepares an event of a path, or of a contract. `rest` is the body and the options.
   *
   * @throws what is wrong with the arguments.
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

  // Encodes at once, since the sender may go on to change what it passed.
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
 * Warns once of each place where a body looks like options that were given in its place: sent as the body, they have no effect
 * and say nothing.
 */
export class MisplacedOptions {
  readonly #logger: Pick<Logger, "warn">;
  readonly #told = new Set<string>();

  constructor(logger: Pick<Logger, "warn">) {
    this.#logger = logger;
  }

  /** Looks at a body that was given without options; a body that a schema checks is what it should be. */
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

// Paths may hold ids: without a bound, there would be no end of places.
const MOST_TOLD = 100;

// Most bodies are told by their first field; one of bytes has a field for each.
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
  signal: (value) => value instanceof AbortSignal,
  messageId: (value) => typeof value === "string",
  query: isTable,
  headers: isTable,
};
