/**
 * The verbs of a service, as types. Each has one generic signature and no overloads: with overloads, a misspelt
 * field is reported as 'not assignable to string'; with one signature, at its own place, with 'did you mean'.
 *
 * A service of another copy of the package has to fit, too. A compiler compares two conditional types that it cannot
 * decide only if what they extend is the same type in both copies, which another conditional type there never is: so
 * what depends on a target stands before `extends`, be it as the parameter of a function.
 */

import type { AnyCommand } from "../contract/command.ts";
import type { AnyEvent } from "../contract/event.ts";
import type { ParamNames, PathParams, UnboundPath } from "../contract/path.ts";
import type { AnySchema, SchemaInput, SchemaOutput } from "../contract/schema.ts";
import type {
  CallOptions,
  PublishOptions,
  RouteOptions,
  SendOptions,
  SubscribeOptions,
} from "../options/verb-options.ts";
import type { HandlerReply, Reply } from "../protocol/reply.ts";
import type { Context } from "./context.ts";

/**
 * The targets that a message may be addressed to: anything but a contract whose path has parameters, and one that may be any of
 * several (`All`) which take different bodies. Both are compile errors that say what to do.
 */
export type Bound<Target, All = Target> = Target extends { readonly pattern: string }
  ? Agreed<Target, All>
  : Target extends { readonly path: infer Path extends string }
    ? [ParamNames<Path>] extends [never]
      ? Agreed<Target, All>
      : Taking<ParamNames<Path>> extends Taking<string>
        ? Agreed<Target, All>
        : UnboundPath<Path>
    : unknown;

// The second question only where there are several: it costs a compiler more than all else in a call.
type Agreed<Target, All> = [All] extends [Target]
  ? unknown
  : [Wanted<All>] extends [WantedByAll<All>]
    ? unknown
    : "it may be one of several contracts with different bodies: tell them apart first";

type Wanted<Target> = Target extends { readonly kind: "event" }
  ? Taken<Target, "body">
  : Taken<Target, "input">;

type WantedByAll<All> = (All extends unknown ? (body: Wanted<All>) => void : never) extends (
  body: infer Body,
) => void
  ? Body
  : never;

/** The schema under a name of a contract; `undefined` if it has none. */
type SchemaOf<Target, Name extends string> = Target extends { readonly [Key in Name]: infer Schema }
  ? Schema
  : undefined;

/**
 * The value that the sender passes for the schema under a name of a contract: nothing if the contract declares none, anything if its
 * type does not tell.
 */
type Taken<Target, Name extends string> = Target extends {
  readonly [Key in Name]: infer Schema;
}
  ? Schema extends AnySchema
    ? SchemaInput<Schema>
    : undefined
  : Name extends keyof Target
    ? unknown
    : undefined;

/** The body that the sender of a command passes; `undefined` if the command declares no input. */
export type CommandInput<Target> = Taken<Target, "input">;

/** The body that the handler of a command gets. */
export type CommandBody<Target> = SchemaOutput<SchemaOf<Target, "input">>;

/** The value that the handler of a command returns. */
export type CommandOutput<Target> = SchemaInput<SchemaOf<Target, "output">>;

/** The reply's body, as the caller of a command gets it. */
export type Answered<Target> = SchemaOutput<SchemaOf<Target, "output">>;

/** The body that the publisher of an event passes; `undefined` if the event declares none. */
export type EventInput<Target> = Target extends string ? unknown : Taken<Target, "body">;

/** The body that the handler of an event gets. */
export type EventBody<Target> = SchemaOutput<SchemaOf<Target, "body">>;

/** The `params` that a handler gets: the names come from the literal or from the contract's path. */
export type ParamsOf<Target> = Target extends string
  ? PathParams<Target>
  : Target extends { readonly path: infer Path extends string }
    ? PathParams<Path>
    : never;

/** `Taking<A> extends Taking<B>` asks whether `B extends A`. */
type Taking<Value> = (value: Value) => void;

/** A body and options; the body may be left out where it may be `undefined`. */
type BodyArguments<Body, Options> =
  Taking<Body> extends Taking<undefined> ? [body?: Body, options?: Options] : [body: Body, options?: Options];

/** The arguments of a command after its target. */
type CommandArguments<Target, Options> = Target extends string
  ? [path: string, body?: unknown, options?: Options]
  : BodyArguments<CommandInput<Target>, Options>;

/** The arguments of `call` after its target: path, body and options for a service's name; body and options for a command. */
export type CallArguments<Target> = CommandArguments<Target, CallOptions>;

/** The arguments of `send` after its target: path, body and options for a service's name; body and options for a command. */
export type SendArguments<Target> = CommandArguments<Target, SendOptions>;

/** The arguments of `publish` after its target. */
export type PublishArguments<Target> = BodyArguments<EventInput<Target>, PublishOptions>;

/**
 * The values that a command handler may return for a body: it, a reply around it, or a promise of either; nothing where the body
 * may be `undefined`.
 */
export type HandlerResult<Body> =
  | Body
  | HandlerReply<Body>
  | Promise<Body | HandlerReply<Body>>
  // The type that `() => {}` returns, for a compiler before version 7.
  | (Taking<Body> extends Taking<undefined> ? void | Promise<void> : never);

/**
 * Handles a command. A conditional type, though it decides nothing: a compiler that meets a handler without
 * parameters knows the contract's answer only through such a type, and would widen `{ state: "on" }` to `string`.
 */
export type CommandHandler<Target> = [Target] extends [infer Known]
  ? (
      context: Context<CommandBody<Known>, ParamsOf<Known>, CommandOutput<Known>>,
    ) => HandlerResult<CommandOutput<Known>>
  : never;

/** Handles an event. What it returns is not used; a promise is awaited before the event counts as handled. */
export type EventHandler<Target> = (context: Context<EventBody<Target>, ParamsOf<Target>>) => unknown;

/** The verbs of a service. Wherever a path goes, a contract may go, and types everything that follows. */
export interface Verbs {
  /**
   * Asks one instance of a service and resolves with its answer: `call(service, path, body?, options?)` or
   * `call(command, body?, options?)`. The deadline is 20,000 ms unless `timeoutMs` or the service says otherwise.
   *
   * @example const { body } = await service.call(charge, { amount: 5 }, { timeoutMs: 1_000 });
   * @throws RemoteError for an answer with a status of 400 or more, among them the command's declared errors.
   * @throws ConfluoError `NO_SUCH_SERVICE`, `TIMEOUT`, `CANCELLED`, `CONNECTION_LOST`, `NOT_CONNECTED`,
   * `SHUTTING_DOWN`, `OVERLOADED`, `UNAVAILABLE`, `PAYLOAD_TOO_LARGE`, `INVALID_INPUT` for a body that the command's schema
   * refuses, `INVALID_OUTPUT` for such an answer, `INVALID_ARGUMENT` for a path that is none.
   */
  call<T extends string | AnyCommand>(
    target: T & Bound<T>,
    ...rest: CallArguments<T>
  ): Promise<Reply<Answered<T>>>;

  /**
   * Leaves a one-way command with a service: `send(service, path, body?, options?)` or
   * `send(command, body?, options?)`. It resolves when the broker has confirmed; the handler runs later, what it
   * returns is dropped, and if it throws it is tried again, in the end to become a dead letter of the service.
   *
   * @example await service.send("mail", "/welcome", { to: "ada@example.com" });
   * @throws ConfluoError `NO_SUCH_SERVICE`, `TIMEOUT` (no confirm in time), `CANCELLED`, `OVERLOADED`,
   * `SHUTTING_DOWN`, `NOT_CONNECTED`, `PAYLOAD_TOO_LARGE`, `UNAVAILABLE`, `INVALID_INPUT`, `INVALID_ARGUMENT`.
   */
  send<T extends string | AnyCommand>(target: T & Bound<T>, ...rest: SendArguments<T>): Promise<void>;

  /**
   * Tells whoever subscribed: `publish(path, body?, options?)` or `publish(event, body?, options?)`. It resolves
   * when the broker has confirmed, also if nobody listens.
   *
   * @example await service.publish(orderPlaced.at({ id: 7 }), { total: 12 });
   * @throws ConfluoError `TIMEOUT` (no confirm in time), `CANCELLED`, `OVERLOADED`, `SHUTTING_DOWN`, `NOT_CONNECTED`,
   * `PAYLOAD_TOO_LARGE`, `UNAVAILABLE`, `INVALID_INPUT`, `INVALID_ARGUMENT`.
   */
  publish<T extends string | AnyEvent>(target: T & Bound<T>, ...rest: PublishArguments<T>): Promise<void>;

  /**
   * Handles the commands of a path, called or sent. The handler returns the body of the answer, or
   * `reply(body, { status, headers })`, or throws.
   *
   * @example service.route("/orders/:id", async ({ params }) => orders.find(params.id));
   * @throws ConfluoError `ALREADY_REGISTERED`, `INVALID_ARGUMENT`, also for a contract of another service.
   */
  route<T extends string | AnyCommand>(target: T, handler: CommandHandler<T>, options?: RouteOptions): this;

  /**
   * Handles the events of a path, in which `*` stands for one segment and `#` for any number of them. Of the
   * instances of this service one handles each event, unless `per: "instance"` asks for every one.
   *
   * @example service.subscribe("/orders/:id/placed", ({ params, body }) => console.log(params.id, body));
   * @throws ConfluoError `ALREADY_REGISTERED`, `INVALID_ARGUMENT`.
   */
  subscribe<T extends string | AnyEvent>(
    target: T,
    handler: EventHandler<T>,
    options?: SubscribeOptions,
  ): this;
}
