/// <reference lib="esnext.disposable" preserve="true" />

export {
  type Context,
  type MessageKind,
  type Middleware,
  type Query,
  type ReplyOptions,
  type StateKey,
  stateKey,
} from "./api/context.ts";
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
} from "./api/verbs.ts";
export {
  type AmqpClient,
  type AmqpDelivery,
  Broker,
  type BrokerAddress,
  type BrokerOptions,
  type CommandUse,
  type Counted,
  type DeadLetter,
  type DeadLetterError,
  type DeadLetterProperties,
  type DeadLetterRecord,
  type DeadLetterSelection,
  type DeadLetters,
  type DelayCount,
  type DelayedMessages,
  type DelayQueue,
  type DiscoverOptions,
  type Durations,
  type EventUse,
  type HandlerStats,
  type ImportDeadLettersOptions,
  type ImportedDeadLetters,
  type InstanceHealth,
  type InstanceInfo,
  type InstanceStats,
  type JsonSchema,
  type LastError,
  type ListDeadLettersOptions,
  type Message,
  type Overview,
  type OverviewOptions,
  type Ping,
  type Properties,
  type QueueInfo,
  type QueueOfService,
  type RecentRuns,
  type RecordedValue,
  type RemovedQueue,
  type RemoveServiceOptions,
  type RouteInfo,
  type SenderStats,
  type ServerInfo,
  type ServiceStats,
  type SharedBroker,
  type StrayStats,
  type SubscriptionInfo,
  type TlsOptions,
  type Watch,
  type WatchedEvent,
} from "./broker/broker.ts";
export { type AnyCommand, type CommandContract, command } from "./contract/command.ts";
export { type AnyEvent, type EventContract, event } from "./contract/event.ts";
export type { ValidationIssue } from "./contract/schema.ts";
export { diagnosticsChannels, type HandledMessage, type OutgoingMessage } from "./diagnostics.ts";
export {
  ConfluoError,
  type ErrorCode,
  isConfluoError,
  RemoteError,
  type RetryAdvice,
  ServiceError,
  type ServiceErrorOptions,
} from "./errors.ts";
export { consoleLogger, type Logger, silentLogger } from "./logging/logger.ts";
export type { WaitOptions } from "./options/checks.ts";
export type {
  CallOptions,
  MessageOptions,
  PublishOptions,
  QueryInput,
  RouteOptions,
  SendOptions,
  SubscribeOptions,
} from "./options/verb-options.ts";
export type { MessageHeaders } from "./protocol/message.ts";
export type { HandlerReply, Reply } from "./protocol/reply.ts";
export type { BackoffOptions, RetryOptions } from "./retry/policy.ts";
export {
  type BatchingOptions,
  type Health,
  Service,
  type ServiceOptions,
  type ServiceState,
  type ShutdownOptions,
  type StateChange,
} from "./service/service.ts";
export { mergeDurations, quantile } from "./statistics/durations.ts";
