/** Counts the delayed messages that an instance has sent and that are not due yet, by the service to whose inbox they return. */

import { type DelayCount, MOST_USES } from "../protocol/discovery/traffic.ts";
import { DueTimes } from "./handler-stats.ts";

/** The delayed messages for one service. */
class ServiceDelays {
  readonly #times = new DueTimes();
  /** When the last of them is due, on the monotonic clock. */
  #until = 0;

  add(dueAt: number): void {
    this.#times.add(dueAt - performance.now());
    this.#until = Math.max(this.#until, dueAt);
  }

  read(): readonly Pick<DelayCount, "count" | "until">[] {
    const { count } = this.#times;
    if (count === 0) return [];
    const until = new Date(Date.now() + Math.max(0, this.#until - performance.now())).toISOString();
    return [{ count, until }];
  }
}

/** Counts delayed messages. The number of services is limited; all others share one count. */
export class DelayRecorder {
  readonly #byService = new Map<string, ServiceDelays>();
  readonly #others = new ServiceDelays();

  /** Records a message that returns to the inbox of a service at a time of the monotonic clock. */
  add(service: string, dueAt: number): void {
    const known = this.#byService.get(service) ?? this.#begin(service);
    known.add(dueAt);
  }

  #begin(service: string): ServiceDelays {
    if (this.#byService.size >= MOST_USES) return this.#others;
    const begun = new ServiceDelays();
    this.#byService.set(service, begun);
    return begun;
  }

  read(): readonly DelayCount[] {
    const told = [...this.#byService].flatMap(([service, delays]) =>
      delays.read().map((each) => ({ service, ...each })),
    );
    return [...told, ...this.#others.read()];
  }
}
