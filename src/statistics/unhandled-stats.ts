/** Counts of messages that no handler was run for: too few to be worth more than two numbers. */

import type { StrayStats } from "../protocol/discovery/instance-answer.ts";

/** Counts messages of one kind. */
export class UnhandledStatsRecorder {
  #received = 0;
  #deadLettered = 0;

  received(): void {
    this.#received += 1;
  }

  deadLettered(): void {
    this.#deadLettered += 1;
  }

  read(): StrayStats {
    return { received: this.#received, deadLettered: this.#deadLettered };
  }
}
