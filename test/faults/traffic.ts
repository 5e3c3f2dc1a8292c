/** What goes on while a fault happens: messages of every kind, each written down with all that became of it. */

import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorCode, isConfluoError, type Service, ServiceError } from "../../src/index.ts";
import { eventually } from "../../src/testing/index.ts";

/** A row of the matrix. The last two are about what the handling side publishes. */
export const verbs = [
  "call",
  "send",
  "publish",
  "publish per instance",
  "send, then retried",
  "send, then given up",
] as const;

export type Verb = (typeof verbs)[number];

/** What every verb is given to settle. */
export const timeoutMs = 4_500;

const handlerMs = 120;
const everyMs = 200;
const settleMs = 5_000;

export interface Asked {
  readonly verb: Verb;
  readonly at: number;
  /** `done`, or the code that it was rejected with; undefined until then. */
  outcome: string | undefined;
  waitedMs: number;
  /** How often a handler ran to its end or, of what is given up, how many letters there are. */
  ended: number;
  /** Came back from a delay when its inbox was gone, and was kept. */
  orphaned: boolean;
}

interface Body {
  readonly service: string;
  readonly id: string;
  readonly verb: Verb;
}

/** Asks and handles, and keeps the account of both. */
export class Traffic {
  readonly asked = new Map<string, Asked>();
  /** Answers and messages that were not what they should be. */
  readonly wrong: string[] = [];
  /** Handlers at work. */
  running = 0;
  /** Added to what a handler takes at a message's first delivery, in milliseconds. */
  firstMs = 0;
  readonly #service: string;
  readonly #pending: Promise<void>[] = [];
  #caller: Service | undefined;

  constructor(service: string) {
    this.#service = service;
  }

  /** Registers the handlers. */
  handleWith(handler: Service): void {
    handler
      .route("/call", (message) => this.#work("call", message))
      .route("/send", (message) => this.#work("send", message))
      .route("/retried", (message) => this.#work("send, then retried", message))
      .route("/given-up", () => {
        throw new ServiceError("on purpose", { retry: "never" });
      })
      .subscribe(`/${this.#service}/told`, (message) => this.#work("publish", message))
      .subscribe(`/${this.#service}/copied`, (message) => this.#work("publish per instance", message), {
        per: "instance",
      });
  }

  askWith(caller: Service): void {
    this.#caller = caller;
  }

  async #work(
    verb: Verb,
    message: { readonly body: unknown; readonly attempt: number; readonly redelivered: boolean },
  ): Promise<{ readonly echo: string }> {
    const { id, verb: meant } = message.body as Body;
    if (verb === "send, then retried" && message.attempt === 1) throw new Error("on purpose");
    this.running += 1;
    try {
      await sleep(handlerMs + (message.redelivered ? 0 : this.firstMs));
    } finally {
      this.running -= 1;
    }
    const entry = this.asked.get(id);
    if (entry === undefined || meant !== verb) this.wrong.push(`a handler of ${verb} got ${meant} ${id}`);
    else entry.ended += 1;
    return { echo: id };
  }

  /** A letter was found; again, if it could not be acknowledged the first time. Says whether it is done with. */
  takeLetter(body: unknown, redelivered: boolean): true {
    const { id, verb } = body as Body;
    const entry = this.asked.get(id);
    if (entry === undefined || verb !== "send, then given up")
      this.wrong.push(`a dead letter of ${verb} ${id}`);
    else if (!redelivered || entry.ended === 0) entry.ended += 1;
    return true;
  }

  /** An orphan was found, perhaps of another service. Says whether it was ours. */
  takeOrphan(body: unknown): boolean {
    const { service, id } = body as Body;
    const entry = service === this.#service ? this.asked.get(id) : undefined;
    if (entry !== undefined) entry.orphaned = true;
    return entry !== undefined;
  }

  /** Uses a verb once; resolves when it has settled, in whatever way. */
  async ask(verb: Verb): Promise<Asked> {
    const id = `${this.asked.size}`;
    const entry: Asked = {
      verb,
      at: performance.now(),
      outcome: undefined,
      waitedMs: 0,
      ended: 0,
      orphaned: false,
    };
    this.asked.set(id, entry);
    const settled = this.#use(verb, id).then(
      () => "done",
      (error: unknown) => (isConfluoError(error) ? error.code : String(error)),
    );
    this.#pending.push(
      settled.then((outcome) => {
        entry.outcome = outcome;
        entry.waitedMs = performance.now() - entry.at;
      }),
    );
    await settled;
    return entry;
  }

  async #use(verb: Verb, id: string): Promise<void> {
    const caller = this.#caller;
    if (caller === undefined) throw new Error("nobody asks yet");
    const service = this.#service;
    const body: Body = { service, id, verb };
    switch (verb) {
      case "call": {
        const reply = await caller.call(service, "/call", body, { timeoutMs });
        if ((reply.body as { readonly echo: unknown }).echo !== id)
          this.wrong.push(`an answer to call ${id}`);
        return;
      }
      case "send":
        return caller.send(service, "/send", body, { timeoutMs });
      case "publish":
        return caller.publish(`/${service}/told`, body, { timeoutMs });
      case "publish per instance":
        return caller.publish(`/${service}/copied`, body, { timeoutMs });
      case "send, then retried":
        return caller.send(service, "/retried", body, { timeoutMs });
      case "send, then given up":
        return caller.send(service, "/given-up", body, { timeoutMs });
      default:
        return verb satisfies never;
    }
  }

  /** Uses all verbs, several times at once. */
  askAll(times: number): void {
    for (const verb of verbs) for (let i = 0; i < times; i++) void this.ask(verb);
  }

  /** Uses all verbs again and again until the end is called. */
  askOn(): () => void {
    const timer = setInterval(() => this.askAll(1), everyMs);
    return () => clearInterval(timer);
  }

  /** Resolves as soon as a new message of each kind has been confirmed and handled, with how long that took. */
  async works(withinMs: number): Promise<number> {
    const began = performance.now();
    await Promise.all(verbs.map((verb) => this.#works(verb, began + withinMs)));
    return performance.now() - began;
  }

  async #works(verb: Verb, deadline: number): Promise<void> {
    let last: Asked | undefined;
    const fresh: Asked[] = [];
    do {
      last = await this.ask(verb);
      if (last.outcome === "done") fresh.push(last);
      await eventually(() => fresh.some(({ ended }) => ended > 0), "", { timeoutMs: 500 }).catch(
        () => undefined,
      );
      if (fresh.some(({ ended }) => ended > 0)) return;
    } while (performance.now() < deadline);
    throw new Error(`${verb} does not work again; the last one was ${last.outcome}`);
  }

  /** Resolves when all that was asked has settled, or should have. */
  async settled(): Promise<void> {
    const late = new AbortController();
    await Promise.race([
      Promise.all(this.#pending),
      sleep(timeoutMs + settleMs, undefined, { signal: late.signal }).catch(() => undefined),
    ]);
    late.abort();
  }

  /** Resolves when a verb has been rejected with a code. */
  async sees(verb: Verb, code: ErrorCode): Promise<void> {
    const seen = (): boolean => this.of(verb).some(({ outcome }) => outcome === code);
    await eventually(seen, `${verb} to be rejected with ${code}`);
  }

  of(verb: Verb): readonly Asked[] {
    return [...this.asked.values()].filter((entry) => entry.verb === verb);
  }

  /** What was confirmed and neither handled nor found anywhere. */
  missing(verb: Verb): number {
    return this.of(verb).filter(
      ({ outcome, ended, orphaned }) => outcome === "done" && ended === 0 && !orphaned,
    ).length;
  }
}
