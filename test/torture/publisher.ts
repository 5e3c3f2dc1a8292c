/** Program of a process that publishes events, sends one-way commands and makes calls, and writes down what became of each. */

import { isConfluoError, RemoteError, Service } from "../../src/index.ts";
import { runProgram, startProgram } from "./program.ts";
import { Random } from "./random.ts";
import {
  deadlineMs,
  graceMs,
  isAnswerTo,
  makeId,
  onPurpose,
  publisherName,
  type Question,
  serviceNames,
  type Verb,
} from "./traffic.ts";

const tickMs = 20;
const mostPending = 500;
const pauseAfterRejectionMs = 250;

const program = startProgram();
const { settings, broker, ledger } = program;
const random = new Random(`${settings.seed} ${settings.process}`);
const service = new Service(publisherName, { broker, timeoutMs: deadlineMs });

/** What has not settled, and when it began, on the clock below. */
const pending = new Map<string, number>();
/** Milliseconds that this process has run, without those that it was stopped for. */
let ranMs = 0;
let tickedAt = performance.now();
let due = 0;
let count = 0;
let quietUntil = 0;
let publishing = false;
let ticking: NodeJS.Timeout | undefined;

await runProgram(service, program, {
  begin() {
    tickedAt = performance.now();
    publishing = true;
    ticking = setInterval(tick, tickMs);
  },
  async end(finish) {
    publishing = false;
    while (finish && pending.size > 0) await new Promise((resolve) => setTimeout(resolve, tickMs));
  },
  close() {
    clearInterval(ticking);
    // After a shutdown nothing may be open.
    for (const id of pending.keys()) ledger.write("hung", id);
  },
});

function tick(): void {
  const now = performance.now();
  const passed = Math.min(now - tickedAt, 5 * tickMs);
  tickedAt = now;
  ranMs += passed;
  for (const [id, began] of pending) {
    if (ranMs - began <= deadlineMs + graceMs) continue;
    pending.delete(id);
    ledger.write("hung", id);
  }
  if (!publishing || ranMs < quietUntil) return;
  due += (passed / 1_000) * settings.rate;
  for (; due >= 1; due--) {
    if (pending.size < mostPending) ask();
  }
}

function ask(): void {
  count += 1;
  const verb = random.weigh<Verb>([
    [45, "publish"],
    [25, "send"],
    [30, "call"],
  ]);
  const to = random.pick(serviceNames);
  const id = makeId(verb, verb === "publish" ? "all" : to, `${settings.process}.${count}`);
  const fails = random.weigh<Question["fails"]>([
    [97, "never"],
    [1.5, "at first"],
    [1.5, "for ever"],
  ]);
  const question: Question = { id, number: random.between(0, 1_000_000), fails };
  ledger.write("asked", id);
  pending.set(id, ranMs);
  use(verb, to, question).then(
    (what) => settle(id, what),
    (error: unknown) => reject(question, error),
  );
}

/** Resolves with what is wrong, if anything is. */
async function use(verb: Verb, to: string, question: Question): Promise<string | undefined> {
  const { id } = question;
  switch (verb) {
    case "publish":
      await service.publish(`/happened/${id}`, question, { messageId: id });
      return undefined;
    case "send":
      await service.send(to, `/do/${id}`, question, { messageId: id });
      return undefined;
    case "call": {
      const { body } = await service.call(to, `/do/${id}`, question);
      if (question.fails !== "never") return "success-of-what-fails";
      return isAnswerTo(question, body) ? undefined : `answer:${spaceless(body)}`;
    }
    default:
      return verb satisfies never;
  }
}

function settle(id: string, wrong: string | undefined): void {
  if (!pending.delete(id)) return;
  if (wrong === undefined) ledger.write("confirmed", id);
  else ledger.write("wrong", id, wrong);
}

function reject(question: Question, error: unknown): void {
  const { id, fails } = question;
  if (!pending.delete(id)) return;
  if (!isConfluoError(error)) {
    ledger.write("wrong", id, `error:${spaceless(error)}`);
    return;
  }
  if (error.code === onPurpose) {
    // An answer, too: of this question?
    const right =
      error instanceof RemoteError &&
      fails !== "never" &&
      (error.data as { readonly id?: string })?.id === id;
    if (right) ledger.write("rejected", id, onPurpose);
    else ledger.write("wrong", id, `error:${spaceless(error.data)}`);
    return;
  }
  ledger.write("rejected", id, error.code);
  quietUntil = ranMs + pauseAfterRejectionMs;
}

function spaceless(value: unknown): string {
  return String(JSON.stringify(value) ?? value)
    .replaceAll(/\s+/g, "_")
    .slice(0, 200);
}
