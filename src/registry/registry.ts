/** The routes, subscriptions and middleware that a service has registered. */

import type { Context, Middleware } from "../api/context.ts";
import type { AnyCommand } from "../contract/command.ts";
import type { AnyEvent } from "../contract/event.ts";
import type { RetryPolicy } from "../retry/policy.ts";
import { DueTimes, type HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import { UnhandledStatsRecorder } from "../statistics/unhandled-stats.ts";
import { Router } from "./router.ts";
import { Subscriptions } from "./subscriptions.ts";

/** A registered handler with its options and statistics. */
export interface Registered<Contract> {
  /** The path or pattern that it was registered for. */
  readonly pattern: string;
  readonly handler: (context: Context) => unknown;
  readonly contract: Contract | undefined;
  /** Time limit of the handler for one-way commands and events, in milliseconds. */
  readonly timeoutMs: number;
  /** When a failed one-way command or event is retried. */
  readonly retry: RetryPolicy;
  readonly tally: HandlerStatsRecorder;
}

export type CommandEntry = Registered<AnyCommand>;
export type EventEntry = Registered<AnyEvent>;

/**
 * The registered handlers: the service adds them, and the dispatcher reads them. The dispatcher also counts here the messages
 * without a handler.
 */
export class Registry {
  readonly routes: Router<CommandEntry> = new Router();
  readonly subscriptions: Subscriptions<EventEntry> = new Subscriptions();
  readonly middleware: Middleware[] = [];
  /** Due times of messages that wait because there was no handler for them. */
  readonly unclaimed: DueTimes = new DueTimes();
  /** Counts messages without a route or subscription here. */
  readonly unmatched: UnhandledStatsRecorder = new UnhandledStatsRecorder();
  /** Counts messages that could not be read. */
  readonly malformed: UnhandledStatsRecorder = new UnhandledStatsRecorder();
}
