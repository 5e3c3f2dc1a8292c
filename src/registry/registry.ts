/** The handlers that a service has registered: routes, subscriptions and middleware. */

import type { Context, Middleware } from "../api/context.ts";
import type { AnyCommand } from "../contract/command.ts";
import type { AnyEvent } from "../contract/event.ts";
import type { RetryPolicy } from "../retry/policy.ts";
import { DueTimes, type HandlerStatsRecorder } from "../statistics/handler-stats.ts";
import { UnhandledStatsRecorder } from "../statistics/unhandled-stats.ts";
import { Router } from "./router.ts";
import { Subscriptions } from "./subscriptions.ts";

/** A registered function with what belongs to it. */
export interface Registered<Contract> {
  /** The path or pattern that it was registered for. */
  readonly pattern: string;
  readonly handler: (context: Context) => unknown;
  readonly contract: Contract | undefined;
  /** The longest run on the durable lane, in milliseconds. */
  readonly timeoutMs: number;
  /** When it is tried again on the durable lane. */
  readonly retry: RetryPolicy;
  readonly tally: HandlerStatsRecorder;
}

export type CommandEntry = Registered<AnyCommand>;
export type EventEntry = Registered<AnyEvent>;

/** Plain holder, filled by the face and read by dispatch; which in turn counts there what it had no handler for. */
export class Registry {
  readonly routes: Router<CommandEntry> = new Router();
  readonly subscriptions: Subscriptions<EventEntry> = new Subscriptions();
  readonly middleware: Middleware[] = [];
  /** Waits of messages for which there was no handler. */
  readonly unclaimed: DueTimes = new DueTimes();
  /** Of what has no route and no subscription here. */
  readonly unmatched: UnhandledStatsRecorder = new UnhandledStatsRecorder();
  /** Of what cannot be read. */
  readonly malformed: UnhandledStatsRecorder = new UnhandledStatsRecorder();
}
