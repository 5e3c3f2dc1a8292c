/** One run of a handler whose result nobody waits for: that of a one-way command, or of an event. */

import type { MaybePromise } from "../async/maybe-promise.ts";
import { ConfluoError } from "../errors.ts";
import type { Registered } from "../registry/registry.ts";
import type { Failure } from "../retry/outcome.ts";
import type { Delivery } from "../transport/transport.ts";
import { abandoned, type Execution, type ExecutionTask, overdue } from "./handler-runner.ts";
import { repliedWith, statusOf } from "./invoke-handler.ts";

/** What is run, and who is told of its end. */
export interface AttemptDetails {
  readonly delivery: Delivery;
  readonly registered: Registered<unknown>;
  /** The pattern of the subscription; `undefined` for a command. */
  readonly subscription: string | undefined;
  readonly handle: (run: Execution) => MaybePromise<unknown>;
  /** `undefined` if it went well. */
  readonly ended: (failure: Failure | undefined) => void;
}

/** Counts how the run ends, and says whether the message may be tried again. */
export class SubscriptionAttempt implements ExecutionTask<unknown> {
  // Calls have places of their own: the answer that this one waits for does not need its.
  readonly waits = undefined;
  readonly #parts: AttemptDetails;

  constructor(parts: AttemptDetails) {
    this.#parts = parts;
    parts.registered.tally.began();
  }

  get ms(): number {
    return this.#parts.registered.timeoutMs;
  }

  get what(): string {
    return `the handler of ${this.#parts.delivery.envelope.path}`;
  }

  work(run: Execution): MaybePromise<unknown> {
    return this.#parts.handle(run);
  }

  returned(result: unknown, run: Execution): void {
    const { delivery, registered, ended } = this.#parts;
    let status: number;
    try {
      status = statusOf(result);
    } catch (error) {
      this.failed(error, run);
      return;
    }
    // Nobody gets an answer here, so one that says 'failed' has to count as a failure.
    if (status >= 400) {
      this.failed(repliedWith(status), run);
      return;
    }
    registered.tally.succeeded(run.began, delivery.envelope.from);
    ended(undefined);
  }

  /** @param run absent if it was not begun. */
  failed(thrown: unknown, run?: Execution): void {
    const { delivery, registered, subscription, ended } = this.#parts;
    const { tally, retry } = registered;
    const error = thrown === overdue ? this.#timeout() : thrown;
    if (thrown === abandoned) tally.abandoned();
    else tally.failed(run?.began ?? performance.now(), delivery.envelope.from, error);
    // What did not come as far as the handler will be no better for waiting.
    const failure = { error, retry: run?.entered || thrown === overdue ? retry : "final" } as const;
    ended(subscription === undefined ? failure : { ...failure, subscription });
  }

  #timeout(): ConfluoError {
    const { lane, envelope } = this.#parts.delivery;
    return new ConfluoError(
      "TIMEOUT",
      `The handler of ${envelope.path} ran longer than its limit of ${this.ms} ms on the ${lane} lane.`,
    );
  }
}
