/// <reference lib="esnext.disposable" preserve="true" />

export {
  Broker,
  type BrokerAddress,
  type BrokerOptions,
  type DeadLetter,
  type DeadLetterError,
  type DeadLetters,
  type DiscoverOptions,
  type Durations,
  type HandlerStats,
  type InstanceHealth,
  type InstanceInfo,
  type InstanceStats,
  type JsonSchema,
  type LastError,
  type LetterSelection,
  type ListLettersOptions,
  type Message,
  type Ping,
  type Properties,
  type QueueInfo,
  type RouteInfo,
  type ServerInfo,
  type ServiceStats,
  type StrayStats,
  type SubscriptionInfo,
  type TlsOptions,
  type Watch,
  type WatchedEvent,
  type Wire,
  type WireDelivery,
} from "./broker.ts";
export { type AnyCommand, type CommandContract, command } from "./contract/command.ts";
export { type AnyEvent, type EventContract, event } from "./contract/event.ts";
export type { Problem } from "./contract/schema.ts";
export {
  type Context,
  type HandlerReply,
  type Headers,
  type Kind,
  type Middleware,
  type Query,
  type Reply,
  type ReplyOptions,
  type StateKey,
  stateKey,
} from "./core/context.ts";
export { diagnosticsChannels, type HandledMessage, type OutgoingMessage } from "./core/diagnostics.ts";
export { type Logger, silentLogger } from "./core/logger.ts";
export type {
  CallOptions,
  MessageOptions,
  PublishOptions,
  QueryInput,
  RouteOptions,
  SendOptions,
  SubscribeOptions,
  Waiting,
} from "./core/options.ts";
export { mergeDurations, quantile } from "./core/tally.ts";
export {
  ConfluoError,
  type ErrorCode,
  isConfluoError,
  RemoteError,
  type RetryAdvice,
  ServiceError,
  type ServiceErrorOptions,
} from "./errors.ts";
export type { BackoffOptions, RetryOptions } from "./retry/policy.ts";
export {
  type GatheringOptions,
  type Health,
  Service,
  type ServiceOptions,
  type ServiceState,
  type ShutdownOptions,
  type StateChange,
} from "./service.ts";
