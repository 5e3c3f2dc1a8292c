/** Entry point of `confluo/contract`: contracts and errors without AMQP, for packages that services share. */

export {
  ConfluoError,
  type ErrorCode,
  type ErrorDetails,
  isConfluoError,
  RemoteError,
  type RemoteOrigin,
  ServiceError,
  type ServiceErrorOptions,
} from "../errors.ts";
export {
  type AnyCommand,
  type BoundCommand,
  type CommandContract,
  type CommandDefinition,
  command,
} from "./command.ts";
export type {
  DeclaredError,
  DeclaredErrorOf,
  DeclaredErrors,
  ErrorArguments,
  ErrorDeclaration,
  ErrorMethods,
  NoErrors,
} from "./declared-errors.ts";
export { type AnyEvent, type BoundEvent, type EventContract, type EventDefinition, event } from "./event.ts";
export type { ParamNames, PathParams, PathValues } from "./path.ts";
export type { AnySchema, SchemaInput, SchemaOutput, ValidationIssue } from "./schema.ts";
