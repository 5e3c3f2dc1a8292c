/**
 * The types of a service's verbs. Each verb has one generic signature and no overloads. With overloads, the compiler reports a
 * misspelt field as 'not assignable to string'; with one signature, it reports the field itself, with 'did you mean'.
 *
 * A service from another copy of the package must be assignable, too. When a compiler cannot decide two conditional types yet,
 * it accepts them only if the types after `extends` are the same type in both copies. A conditional type there never is. So
 * each type that depends on a target stands before `extends`, if necessary as the parameter of a function.
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
 * A check of a target at compile time. It refuses, with a message that says what to do, a contract whose path has parameters
 * that were not filled in, and a value that may be any of several contracts (`All`) with different bodies.
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

// Compares the bodies only if there are several contracts, because that costs a compiler more than the rest of a call.
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

/** The schema that a contract has under a name; `undefined` if it has none. */
type SchemaOf<Target, Name extends string> = Target extends { readonly [Key in Name]: infer Schema }
  ? Schema
  : undefined;

/**
 * The value that the sender passes for the schema under a name of a contract: `undefined` if the contract declares no schema,
 * `unknown` if the contract's type leaves that open.
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

/** The value that the handler of a command returns as the answer's body. */
export type CommandOutput<Target> = SchemaInput<SchemaOf<Target, "output">>;

/** The body of the answer, as the caller of a command gets it. */
export type Answered<Target> = SchemaOutput<SchemaOf<Target, "output">>;

/** The body that the publisher of an event passes; `undefined` if the event declares none. */
export type EventInput<Target> = Target extends string ? unknown : Taken<Target, "body">;

/** The body that the handler of an event gets. */
export type EventBody<Target> = SchemaOutput<SchemaOf<Target, "body">>;

/** The `params` that a handler gets. The names come from the path literal or from the contract's path. */
export type ParamsOf<Target> = Target extends string
  ? PathParams<Target>
  : Target extends { readonly path: infer Path extends string }
    ? PathParams<Path>
    : never;

/** A function type that turns an assignability test around: `Taking<A> extends Taking<B>` is true if `B extends A`. */
type Taking<Value> = (value: Value) => void;

/** Arguments of body and options. The body may be left out if its type allows `undefined`. */
type BodyArguments<Body, Options> =
  Taking<Body> extends Taking<undefined> ? [body?: Body, options?: Options] : [body: Body, options?: Options];

/** The arguments that follow the target of a command. */
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
 * The values that a command handler may return for a body: the body, a reply that contains the body, or a promise of either. It
 * may return nothing if the body's type allows `undefined`.
 */
export type HandlerResult<Body> =
  | Body
  | HandlerReply<Body>
  | Promise<Body | HandlerReply<Body>>
  // Compilers before version 7 infer this type for `() => {}`.
  | (Taking<Body> extends Taking<undefined> ? void | Promise<void> : never);

/**
 * A handler of a command. The conditional type decides nothing, but it is needed: for a handler without parameters, a compiler
 * infers the contract's answer only through such a type; otherwise it would widen `{ state: "on" }` to `string`.
 */
export type CommandHandler<Target> = [Target] extends [infer Known]
  ? (
      context: Context<CommandBody<Known>, ParamsOf<Known>, CommandOutput<Known>>,
    ) => HandlerResult<CommandOutput<Known>>
  : never;

/**
 * A handler of an event. Its result is ignored; if it is a promise, the event counts as handled once the promise has settled.
 */
export type EventHandler<Target> = (context: Context<EventBody<Target>, ParamsOf<Target>>) => unknown;

/** The verbs of a service. Each accepts a contract in place of a path; the contract then types the other arguments. */
export interface Verbs {
  /**
   * Sends a command to one instance of a service and resolves with its answer: `call(service, path, body?, options?)` or
   * `call(command, body?, options?)`. The deadline is `timeoutMs`, else the service's default, else 20,000 ms.
   *
   * @example const { body } = await service.call(charge, { amount: 5 }, { timeoutMs: 1_000 });
   * @throws RemoteError for an answer with a status of 400 or more, among them the command's declared errors.
   * @throws ConfluoError `NO_SUCH_SERVICE`, `TIMEOUT`, `CANCELLED`, `CONNECTION_LOST`, `NOT_CONNECTED`, `SHUTTING_DOWN`,
   *   `OVERLOADED`, `UNAVAILABLE`, `PAYLOAD_TOO_LARGE`, `INVALID_INPUT` for a body that the command's schema refuses,
   *   `INVALID_OUTPUT` for an answer that it refuses, `INVALID_ARGUMENT` for a path that is not valid.
   */
  call<T extends string | AnyCommand>(
    target: T & Bound<T>,
    ...rest: CallArguments<T>
  ): Promise<Reply<Answered<T>>>;

  /**
   * Sends a one-way command to a service: `send(service, path, body?, options?)` or `send(command, body?, options?)`. It
   * resolves when the broker has confirmed the command. The handler runs later, and its result is dropped. If the handler
   * throws, the command is retried; after the last try it becomes a dead letter of the service.
   *
   * @example await service.send("mail", "/welcome", { to: "ada@example.com" });
   * @throws ConfluoError `NO_SUCH_SERVICE`, `TIMEOUT` (no confirm in time), `CANCELLED`, `OVERLOADED`, `SHUTTING_DOWN`,
   *   `NOT_CONNECTED`, `PAYLOAD_TOO_LARGE`, `UNAVAILABLE`, `INVALID_INPUT`, `INVALID_ARGUMENT`.
   */
  send<T extends string | AnyCommand>(target: T & Bound<T>, ...rest: SendArguments<T>): Promise<void>;

  /**
   * Publishes an event to all subscribers: `publish(path, body?, options?)` or `publish(event, body?, options?)`. It resolves
   * when the broker has confirmed the event, even if nobody subscribes.
   *
   * @example await service.publish(orderPlaced.at({ id: 7 }), { total: 12 });
   * @throws ConfluoError `TIMEOUT` (no confirm in time), `CANCELLED`, `OVERLOADED`, `SHUTTING_DOWN`, `NOT_CONNECTED`,
   *   `PAYLOAD_TOO_LARGE`, `UNAVAILABLE`, `INVALID_INPUT`, `INVALID_ARGUMENT`.
   */
  publish<T extends string | AnyEvent>(target: T & Bound<T>, ...rest: PublishArguments<T>): Promise<void>;

  /**
   * Registers the handler for the commands of a path, both called and sent. The handler returns the body of the answer, or
   * `reply(body, { status, headers })`, or throws.
   *
   * @example service.route("/orders/:id", async ({ params }) => orders.find(params.id));
   * @throws ConfluoError `ALREADY_REGISTERED`, `INVALID_ARGUMENT`, also for a contract that names another service.
   */
  route<T extends string | AnyCommand>(target: T, handler: CommandHandler<T>, options?: RouteOptions): this;

  /**
   * Registers a handler for the events of a path, in which `*` stands for one segment and `#` for any number of segments. One
   * instance of this service handles each event; with `per: "instance"`, every instance does.
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
