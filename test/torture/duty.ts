/** What one service owes one message, and what became of all of them. */

import { isPoisonFor, readId, type ServiceName } from "./traffic.ts";

/** How long nothing was handled before the consumers are told to leave. */
export const quietMs = 2_000;

/** One event or one-way command, as one service has to handle it. */
export interface Duty {
  readonly id: string;
  asked: boolean;
  confirmedAt: number | undefined;
  /** When a handler ended first, well or not. */
  endedAt: number | undefined;
  handled: number;
  handledAfterFirst: boolean;
  failed: number;
  /** When a handler ended last. */
  lastEndedAt: number | undefined;
  /** When the message killed an instance. */
  readonly deaths: number[];
  letters: number;
  left: number;
  waiting: number;
}

/** What became of one service's events and one-way commands. */
export interface ServiceTotals {
  confirmed: number;
  handled: number;
  deadLettered: number;
  /** Waits in a delay queue. */
  waiting: number;
  /** Still in the inbox at the end. */
  left: number;
  lost: number;
  /** Handled more than once, of all that were handled. */
  handledTwice: number;
  handledInAll: number;
  handledAndDeadLettered: number;
  deadLetteredTwice: number;
  /** Handled although the publisher was not told that it was taken. */
  unconfirmedHandled: number;
  failedOnPurpose: number;
  failedThenDeadLettered: number;
  failedThenHandled: number;
  poisoned: number;
  /** The most processes that one message killed. */
  mostDeaths: number;
  /** Dead letters by code. */
  readonly codes: Map<string, number>;
  /** What was lost or left, and what nobody sent. */
  readonly problems: Problem[];
}

export interface Problem {
  /**
   * `unanswered`: a call whose handler ended in good time, with no disturbance near. `unexplained`: another rejection without
   * one.
   */
  readonly what: "lost" | "left" | "hung" | "wrong" | "unanswered" | "unexplained";
  readonly story: string;
}

export function newDuty(id: string): Duty {
  return { ...noDuty, id, deaths: [] };
}

const noDuty: Omit<Duty, "id" | "deaths"> = {
  asked: false,
  confirmedAt: undefined,
  endedAt: undefined,
  handled: 0,
  handledAfterFirst: false,
  lastEndedAt: undefined,
  failed: 0,
  letters: 0,
  left: 0,
  waiting: 0,
};

const noTotals: Omit<ServiceTotals, "codes" | "problems"> = {
  confirmed: 0,
  handled: 0,
  deadLettered: 0,
  waiting: 0,
  left: 0,
  lost: 0,
  handledTwice: 0,
  handledInAll: 0,
  handledAndDeadLettered: 0,
  deadLetteredTwice: 0,
  unconfirmedHandled: 0,
  failedOnPurpose: 0,
  failedThenDeadLettered: 0,
  failedThenHandled: 0,
  poisoned: 0,
  mostDeaths: 0,
};

export function newTotals(codes: Map<string, number>): ServiceTotals {
  return { ...noTotals, codes, problems: [] };
}

/** How the end was. */
export interface Ending {
  readonly service: ServiceName;
  /** When the consumers were told to leave. */
  readonly leftAt: number;
  /** Nothing had been handled for a while by then. */
  readonly quiet: boolean;
}

export function countDuty(duty: Duty, totals: ServiceTotals, { service, leftAt, quiet }: Ending): void {
  const { id, handled, letters, failed, deaths } = duty;
  const identity = readId(id);
  const report = (what: Problem["what"], why = ""): void => {
    totals.problems.push({ what, story: `${service} ${describe(duty)}${why}` });
  };
  if (!duty.asked) report("wrong", ", which nobody sent");
  if (identity.trait === "big" && handled > 0)
    report("wrong", ", was handled though its headers are too big");
  if (isPoisonFor(service, identity) && handled > 0) report("wrong", ", was handled though it kills");
  if (handled > 0) totals.handledInAll += 1;
  if (handled > 1) totals.handledTwice += 1;
  if (handled > 0 && letters > 0) totals.handledAndDeadLettered += 1;
  if (letters > 1) totals.deadLetteredTwice += 1;
  if (deaths.length > 0) totals.poisoned += 1;
  totals.mostDeaths = Math.max(totals.mostDeaths, deaths.length);
  if (failed > 0) {
    totals.failedOnPurpose += 1;
    if (letters > 0) totals.failedThenDeadLettered += 1;
    if (duty.handledAfterFirst) totals.failedThenHandled += 1;
  }
  // What was sent twice may come a second time, but neither this late nor at once.
  const { lastEndedAt = leftAt } = duty;
  const settled = quiet && handled > 0 && failed === 0 && lastEndedAt < leftAt - quietMs;
  if (duty.left > 0 && settled && identity.trait === "plain")
    report("wrong", `, was handled at ${lastEndedAt} ms and lies in the inbox: it was not acknowledged`);
  if (duty.confirmedAt === undefined) {
    if (handled > 0) totals.unconfirmedHandled += 1;
    return;
  }
  totals.confirmed += 1;
  if (handled > 0) totals.handled += 1;
  else if (letters > 0) totals.deadLettered += 1;
  else if (duty.left > 0) {
    totals.left += 1;
    report("left");
  } else if (duty.waiting > 0) totals.waiting += 1;
  else {
    totals.lost += 1;
    report("lost");
  }
}

function describe({ id, confirmedAt, failed }: Duty): string {
  const confirmed = confirmedAt === undefined ? "not confirmed" : `confirmed at ${confirmedAt} ms`;
  return `${id}, ${confirmed}, failed ${failed} times`;
}
