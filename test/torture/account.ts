/** Adds up the facts of the ledger: what was promised, and what became of it. */

import type { Fact } from "./ledger.ts";
import type { Letter } from "./letters.ts";
import type { Stretch } from "./stalls.ts";
import { readId, type ServiceName } from "./traffic.ts";

/** One event or one-way command, as one service has to handle it. */
interface Duty {
  readonly id: string;
  asked: boolean;
  confirmedAt: number | undefined;
  /** When a handler ended first, well or not. */
  endedAt: number | undefined;
  handled: number;
  handledAfterFirst: boolean;
  failed: number;
  letters: number;
  left: number;
}

/** What became of one service's events and one-way commands. */
export interface ServiceTotals {
  confirmed: number;
  handled: number;
  deadLettered: number;
  /** Failed on purpose and waits in a delay queue. */
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
  /** Dead letters by code. */
  readonly codes: Map<string, number>;
  /** What was lost or left, and what nobody sent. */
  readonly problems: Problem[];
}

export interface Problem {
  readonly what: "lost" | "left" | "hung" | "wrong";
  readonly story: string;
}

export class Account {
  readonly #duties: Readonly<Record<ServiceName, Map<string, Duty>>> = { north: new Map(), south: new Map() };
  readonly #progress: Readonly<Record<ServiceName, number[]>> = { north: [], south: [] };
  readonly #calls = new Map<string, number>();
  /** What the processes themselves found wrong or hung. */
  readonly problems: Problem[] = [];
  readonly confirmed = { publish: 0, send: 0 };
  /** Codes that `publish` and `send` rejected with. */
  readonly rejections = new Map<string, number>();
  /** Outcomes of calls: `answered`, or the code. */
  readonly outcomes = new Map<string, number>();
  readonly memory = new Map<string, { readonly at: number; readonly bytes: number }[]>();
  callsAsked = 0;
  callsRun = 0;
  /** Handlings of events and one-way commands, repetitions included. */
  handlings = 0;
  strangeLetters = 0;

  take(fact: Fact): void {
    const { at, name, words } = fact;
    const [first = "", second = ""] = words;
    switch (name) {
      case "asked":
        this.#ask(first, at);
        break;
      case "confirmed":
        this.#confirm(first, at);
        break;
      case "rejected":
        if (this.#calls.delete(first)) add(this.outcomes, second);
        else add(this.rejections, second);
        break;
      case "wrong":
      case "hung":
        this.#calls.delete(first);
        this.problems.push({ what: name, story: `${at} ${fact.process} ${words.join(" ")}` });
        break;
      case "handled":
      case "failed":
        this.#end(first as ServiceName, second, fact);
        break;
      case "rss":
        this.memory.set(fact.process, [
          ...(this.memory.get(fact.process) ?? []),
          { at, bytes: Number(first) },
        ]);
        break;
      default:
        name satisfies never;
    }
  }

  takeLetter(service: ServiceName, { id, code }: Letter): void {
    if (id === undefined) this.strangeLetters += 1;
    else this.#duty(service, id).letters += 1;
    add(this.#codes[service], code);
  }

  /** A message that was still in a service's inbox when all its instances had left. */
  takeLeft(service: ServiceName, { id }: Letter): void {
    if (id === undefined) this.strangeLetters += 1;
    else this.#duty(service, id).left += 1;
  }

  /** Calls of processes that were killed: nobody is there to whom they could settle. */
  get callsCutShort(): number {
    return this.#calls.size;
  }

  /** Confirmed, and no handler has ended yet, well or not. */
  countUnhandled(service: ServiceName): number {
    let count = 0;
    for (const { confirmedAt, endedAt } of this.#duties[service].values()) {
      if (confirmedAt !== undefined && endedAt === undefined) count += 1;
    }
    return count;
  }

  /** The same, and those of which a handler has failed while neither a letter nor a success was seen. */
  countOpen(service: ServiceName): number {
    let open = 0;
    for (const { confirmedAt, handled, letters } of this.#duties[service].values()) {
      if (confirmedAt !== undefined && handled === 0 && letters === 0) open += 1;
    }
    return open;
  }

  /** @param delayed Whether something waits in a delay queue: what has failed may be there. */
  total(service: ServiceName, delayed: boolean): ServiceTotals {
    const totals: ServiceTotals = { ...noTotals, codes: this.#codes[service], problems: [] };
    for (const duty of this.#duties[service].values()) countDuty(duty, totals, { service, delayed });
    return totals;
  }

  workload(service: ServiceName): {
    readonly work: readonly Stretch[];
    readonly progress: readonly number[];
  } {
    const work: Stretch[] = [];
    for (const { confirmedAt, endedAt = Number.POSITIVE_INFINITY } of this.#duties[service].values()) {
      if (confirmedAt !== undefined) work.push({ from: confirmedAt, to: endedAt });
    }
    return { work, progress: this.#progress[service] };
  }

  // --- Inside ---

  readonly #codes: Readonly<Record<ServiceName, Map<string, number>>> = {
    north: new Map(),
    south: new Map(),
  };

  #duty(service: ServiceName, id: string): Duty {
    const duties = this.#duties[service];
    let duty = duties.get(id);
    if (duty === undefined) {
      duty = { ...noDuty, id };
      duties.set(id, duty);
    }
    return duty;
  }

  #ask(id: string, at: number): void {
    const { verb, services } = readId(id);
    if (verb === "call") {
      this.callsAsked += 1;
      this.#calls.set(id, at);
    } else for (const service of services) this.#duty(service, id).asked = true;
  }

  #confirm(id: string, at: number): void {
    const { verb, services } = readId(id);
    if (verb === "call") {
      this.#calls.delete(id);
      add(this.outcomes, "answered");
      return;
    }
    this.confirmed[verb] += 1;
    for (const service of services) this.#duty(service, id).confirmedAt = at;
  }

  #end(service: ServiceName, id: string, { at, name, words }: Fact): void {
    if (readId(id).verb === "call") {
      this.callsRun += 1;
      return;
    }
    this.handlings += 1;
    this.#progress[service].push(at);
    const duty = this.#duty(service, id);
    duty.endedAt = Math.min(duty.endedAt ?? at, at);
    if (name === "failed") duty.failed += 1;
    else {
      duty.handled += 1;
      if (Number(words[2]) > 1) duty.handledAfterFirst = true;
    }
  }
}

const noDuty: Omit<Duty, "id"> = {
  asked: false,
  confirmedAt: undefined,
  endedAt: undefined,
  handled: 0,
  handledAfterFirst: false,
  failed: 0,
  letters: 0,
  left: 0,
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
};

function countDuty(
  duty: Duty,
  totals: ServiceTotals,
  { service, delayed }: { readonly service: string; readonly delayed: boolean },
): void {
  const { id, handled, letters, failed } = duty;
  if (!duty.asked) totals.problems.push({ what: "wrong", story: `${service} got ${id}, which nobody sent` });
  if (handled > 0) totals.handledInAll += 1;
  if (handled > 1) totals.handledTwice += 1;
  if (handled > 0 && letters > 0) totals.handledAndDeadLettered += 1;
  if (letters > 1) totals.deadLetteredTwice += 1;
  if (failed > 0) {
    totals.failedOnPurpose += 1;
    if (letters > 0) totals.failedThenDeadLettered += 1;
    if (duty.handledAfterFirst) totals.failedThenHandled += 1;
  }
  if (duty.confirmedAt === undefined) {
    if (handled > 0) totals.unconfirmedHandled += 1;
    return;
  }
  totals.confirmed += 1;
  if (handled > 0) totals.handled += 1;
  else if (letters > 0) totals.deadLettered += 1;
  else if (duty.left > 0) {
    totals.left += 1;
    totals.problems.push({ what: "left", story: `${service} ${describe(duty)}` });
  } else if (failed > 0 && delayed) totals.waiting += 1;
  else {
    totals.lost += 1;
    totals.problems.push({ what: "lost", story: `${service} ${describe(duty)}` });
  }
}

function describe({ id, confirmedAt, failed }: Duty): string {
  return `${id}, confirmed at ${confirmedAt} ms, failed ${failed} times`;
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
