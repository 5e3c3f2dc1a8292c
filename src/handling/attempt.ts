/** One run of a handler whose result nobody waits for: that of a one-way command, or of an event. */

import type { MaybePromise } from "../async/maybe-promise.ts";
import { ConfluoError } from "../errors.ts";
import type { Registered } from "../registry/registry.ts";
import type { Failure } from "../retry/outcome.ts";
import type { Delivery } from "../transport/transport.ts";
import { abandoned, type Execution, overdue, type Task } from "./handler-runner.ts";
import { repliedWith, statusOf } from "./invoke-handler.ts";

/** What is run, and what its end comes to. */
export interface AttemptDetails<End> {
  readonly delivery: Delivery;
  readonly registered: Registered<unknown>;
  /** The pattern of the subscription; `undefined` for a command. */
  readonly subscription: string | undefined;
  readonly handle: (execution: Execution) => MaybePromise<unknown>;
  /** `undefined` if it went well. */
  readonly ended: (failure: Failure | undefined) => End;
}

/** Counts how the run ends, and says whether the message may be tried again. */
export class Attempt<End> implements Task<unknown, End> {
  // Calls have places of their own: the answer that this one waits for does not need its.
  readonly waits = undefined;
  readonly #details: AttemptDetails<End>;
  #execution: Execution | undefined;

  constructor(details: AttemptDetails<End>) {
    this.#details = details;
    details.registered.tally.began();
  }

  get ms(): number {
    return this.#details.registered.timeoutMs;
  }

  get what(): string {
    return `the handler of ${this.#details.delivery.envelope.path}`;
  }

  work(execution: Execution): MaybePromise<unknown> {
    this.#execution = execution;
    return this.#details.handle(execution);
  }

  returned(result: unknown): End {
    const { delivery, registered, ended } = this.#details;
    let status: number;
    try {
      status = statusOf(result);
    } catch (error) {
      return this.failed(error);
    }
    // Nobody gets an answer here, so one that says 'failed' has to count as a failure.
    if (status >= 400) return this.failed(repliedWith(status));
    registered.tally.succeeded(this.#began, delivery.envelope.from);
    return ended(undefined);
  }

  failed(thrown: unknown): End {
    const { delivery, registered, subscription, ended } = this.#details;
    const { tally, retry } = registered;
    const error = thrown === overdue ? this.#timeout() : thrown;
    if (thrown === abandoned) tally.abandoned();
    else tally.failed(this.#began, delivery.envelope.from, error);
    // What did not come as far as the handler will be no better for waiting.
    const isEntered = this.#execution?.entered === true || thrown === overdue;
    const failure = { error, retry: isEntered ? retry : "final" } as const;
    return ended(subscription === undefined ? failure : { ...failure, subscription });
  }

  get #began(): number {
    return this.#execution?.began ?? performance.now();
  }

  #timeout(): ConfluoError {
    const { lane, envelope } = this.#details.delivery;
    return new ConfluoError(
      "TIMEOUT",
      `The handler of ${envelope.path} ran longer than its limit of ${this.ms} ms on the ${lane} lane.`,
    );
  }
}
