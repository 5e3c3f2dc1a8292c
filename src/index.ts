/// <reference lib="esnext.disposable" preserve="true" />

export {
  Broker,
  type BrokerAddress,
  type BrokerOptions,
  type CommandUse,
  type Counted,
  type DeadLetter,
  type DeadLetterError,
  type DeadLetters,
  type DelayQueue,
  type DiscoverOptions,
  type Durations,
  type EventUse,
  type HandlerStats,
  type InstanceHealth,
  type InstanceInfo,
  type InstanceStats,
  type JsonSchema,
  type LastError,
  type LetterSelection,
  type ListLettersOptions,
  type Message,
  type Overview,
  type OverviewOptions,
  type Ping,
  type Properties,
  type QueueInfo,
  type QueueOfService,
  type RecentRuns,
  type RouteInfo,
  type Sender,
  type ServerInfo,
  type ServiceStats,
  type SharedBroker,
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
export { mergeDurations, quantile } from "./core/histogram.ts";
export { consoleLogger, type Logger, silentLogger } from "./core/logger.ts";
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
export type {
  Answered,
  Bound,
  CallArguments,
  CommandBody,
  CommandHandler,
  CommandInput,
  CommandOutput,
  EventBody,
  EventHandler,
  EventInput,
  HandlerResult,
  ParamsOf,
  PublishArguments,
  SendArguments,
  Verbs,
} from "./core/verbs.ts";
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
