/** Counts messages that no handler ran for. Two numbers are enough, because they are rare. */

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
