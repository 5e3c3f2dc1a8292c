/** Adds up the facts of the ledger: what was promised, and what became of it. */

import {
  countDuty,
  type Duty,
  type Ending,
  newDuty,
  newTotals,
  type Problem,
  type ServiceTotals,
} from "./duty.ts";
import type { Fact } from "./ledger.ts";
import type { Letter } from "./letters.ts";
import type { Stretch } from "./stalls.ts";
import { onPurpose, readId, type ServiceName } from "./traffic.ts";

/** A use of a verb: by which process, and when. */
export interface Asked {
  readonly id: string;
  readonly by: string;
  readonly at: number;
}

/** Its rejection. */
export interface Rejected {
  readonly asked: Asked;
  readonly code: string;
  readonly at: number;
}

/** The end of a handler, and in which process that was. */
export interface End {
  readonly by: string;
  readonly at: number;
}

export class Account {
  readonly #duties: Readonly<Record<ServiceName, Map<string, Duty>>> = { north: new Map(), south: new Map() };
  readonly #progress: Readonly<Record<ServiceName, number[]>> = { north: [], south: [] };
  /** What was asked and has not settled. */
  readonly #open = new Map<string, Asked>();
  readonly #ends = new Map<string, End[]>();
  /** All that rejected, but on purpose. */
  readonly rejected: Rejected[] = [];
  readonly letters: (Letter & { readonly service: ServiceName })[] = [];
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
        this.#ask(first, { at, by: fact.process });
        break;
      case "confirmed":
        this.#confirm(first, at);
        break;
      case "rejected":
        this.#reject(first, second, at);
        break;
      case "wrong":
      case "hung":
        this.#open.delete(first);
        this.problems.push({ what: name, story: `${at} ${fact.process} ${words.join(" ")}` });
        break;
      case "died":
        if (readId(second).verb !== "call") this.#duty(first as ServiceName, second).deaths.push(at);
        else this.#deadly.set(second, [...(this.#deadly.get(second) ?? []), at]);
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

  takeLetter(service: ServiceName, letter: Letter): void {
    const { id, code } = letter;
    this.letters.push({ ...letter, service });
    if (id === undefined) this.strangeLetters += 1;
    else this.#duty(service, id).letters += 1;
    add(this.#codes[service], code);
  }

  /** A message that was still in a service's inbox when all its instances had left. */
  takeLeft(service: ServiceName, { id }: Letter): void {
    if (id === undefined) this.strangeLetters += 1;
    else this.#duty(service, id).left += 1;
  }

  /** A message that still waited in a delay queue, to return to a service. */
  takeWaiting(service: ServiceName, { id }: Letter): void {
    if (id === undefined) this.strangeLetters += 1;
    else this.#duty(service, id).waiting += 1;
  }

  /** Calls of processes that were killed: nobody is there to whom they could settle. */
  get callsCutShort(): number {
    let count = 0;
    for (const id of this.#open.keys()) if (readId(id).verb === "call") count += 1;
    return count;
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

  total(service: ServiceName, ending: Omit<Ending, "service">): ServiceTotals {
    const totals = newTotals(this.#codes[service]);
    for (const duty of this.#duties[service].values()) countDuty(duty, totals, { ...ending, service });
    return totals;
  }

  confirmedAt(service: ServiceName, id: string): number | undefined {
    return this.#duties[service].get(id)?.confirmedAt;
  }

  /** Where and when handlers of a call ended, well or not. */
  endsOf(call: string): readonly End[] {
    return this.#ends.get(call) ?? [];
  }

  /** When a message that is poison for this service killed its instances. */
  *poisons(service: ServiceName): Generator<{ readonly id: string; readonly deaths: readonly number[] }> {
    for (const { id, deaths } of this.#duties[service].values()) if (deaths.length > 0) yield { id, deaths };
    for (const [id, deaths] of this.#deadly) if (readId(id).services.includes(service)) yield { id, deaths };
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

  /** Calls that killed. */
  readonly #deadly = new Map<string, number[]>();

  readonly #codes: Readonly<Record<ServiceName, Map<string, number>>> = {
    north: new Map(),
    south: new Map(),
  };

  #duty(service: ServiceName, id: string): Duty {
    const duties = this.#duties[service];
    let duty = duties.get(id);
    if (duty === undefined) {
      duty = newDuty(id);
      duties.set(id, duty);
    }
    return duty;
  }

  #ask(id: string, asked: Omit<Asked, "id">): void {
    const { verb, services } = readId(id);
    this.#open.set(id, { ...asked, id });
    if (verb === "call") this.callsAsked += 1;
    else for (const service of services) this.#duty(service, id).asked = true;
  }

  #confirm(id: string, at: number): void {
    const { verb, services } = readId(id);
    this.#open.delete(id);
    if (verb === "call") {
      this.#ends.delete(id);
      add(this.outcomes, "answered");
      return;
    }
    this.confirmed[verb] += 1;
    for (const service of services) this.#duty(service, id).confirmedAt = at;
  }

  #reject(id: string, code: string, at: number): void {
    const asked = this.#open.get(id);
    this.#open.delete(id);
    add(readId(id).verb === "call" ? this.outcomes : this.rejections, code);
    if (asked !== undefined && code !== onPurpose) this.rejected.push({ asked, code, at });
  }

  #end(service: ServiceName, id: string, { at, name, process, words }: Fact): void {
    if (readId(id).verb === "call") {
      this.callsRun += 1;
      const ends = this.#ends.get(id);
      if (ends === undefined) this.#ends.set(id, [{ at, by: process }]);
      else ends.push({ at, by: process });
      return;
    }
    this.handlings += 1;
    this.#progress[service].push(at);
    const duty = this.#duty(service, id);
    duty.endedAt = Math.min(duty.endedAt ?? at, at);
    duty.lastEndedAt = Math.max(duty.lastEndedAt ?? at, at);
    if (name === "failed") duty.failed += 1;
    else {
      duty.handled += 1;
      if (Number(words[2]) > 1) duty.handledAfterFirst = true;
    }
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
