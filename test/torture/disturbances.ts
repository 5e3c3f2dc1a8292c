/** When which process, or the broker, was disturbed: what explains that something was not answered in time. */

import type { Stretch } from "./stalls.ts";

/** Name of a process, without the number of its start, or the broker's. */
export type Disturbed = string;
export const theBroker = "broker";

export interface Disturbance extends Stretch {
  readonly who: Disturbed;
  readonly text: string;
}

export class Disturbances {
  readonly #all: { who: Disturbed; text: string; from: number; to: number }[] = [];
  readonly #now: () => number;

  /** @param now Milliseconds since the run began. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get all(): readonly Disturbance[] {
    return this.#all;
  }

  /** @returns to be called when it is over; until then it goes on. */
  begin(who: Disturbed, text: string): () => void {
    const disturbance = { who, text, from: this.#now(), to: Number.POSITIVE_INFINITY };
    this.#all.push(disturbance);
    return () => {
      disturbance.to = Math.min(disturbance.to, this.#now());
    };
  }

  /** Those of any of these that touch a stretch of time. */
  within(whom: readonly Disturbed[], { from, to }: Stretch): readonly Disturbance[] {
    return this.#all.filter((one) => whom.includes(one.who) && one.from <= to && one.to >= from);
  }
}

/** `press-1` of `press-1.3`. */
export function memberOf(process: string): string {
  return process.slice(0, process.lastIndexOf("."));
}
