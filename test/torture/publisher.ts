/** Program of a process that publishes events, sends one-way commands and makes calls, and writes down what became of each. */

import { runProgram, startProgram } from "./program.ts";
import { Random } from "./random.ts";
import {
  deadlineMs,
  graceMs,
  isAnswerTo,
  makeId,
  onPurpose,
  pathOf,
  poisonedName,
  publisherName,
  type Question,
  readId,
  serviceNames,
  type Trait,
  type Verb,
} from "./traffic.ts";

const tickMs = 20;
const mostPending = 500;
const pauseAfterRejectionMs = 250;

const usualFrameMax = 131_072;

const program = await startProgram();
const { confluo, settings, broker, ledger } = program;
const random = new Random(`${settings.seed} ${settings.process}`);
const service = new confluo.Service(publisherName, { broker, timeoutMs: deadlineMs });

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
let poisonAt = nextPoison();
/** Too much for a frame of this connection. */
const big = "h".repeat(1.1 * (settings.frameMax ?? usualFrameMax));

await runProgram(service, program, {
  begin() {
    tickedAt = performance.now();
    publishing = true;
    ticking = setInterval(tick, tickMs);
  },
  burst(count) {
    // No calls: they would be late for the crowd, and not for a fault.
    for (let left = count; left > 0; left--) ask(random.pick(["publish", "send"] as const), "plain");
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
    if (pending.size < mostPending) ask(pickVerb(), pickTrait());
  }
}

function pickVerb(): Verb {
  return random.weigh<Verb>([
    [45, "publish"],
    [25, "send"],
    [30, "call"],
  ]);
}

function pickTrait(): Trait {
  if (ranMs > poisonAt) {
    poisonAt = nextPoison();
    return "poison";
  }
  return random.weigh<Trait>([
    [97.5, "plain"],
    [2, "new"],
    [0.5, "big"],
  ]);
}

function nextPoison(): number {
  const { poisonEveryMs } = settings;
  if (poisonEveryMs === 0) return Number.POSITIVE_INFINITY;
  return ranMs + random.between(poisonEveryMs * 0.3, poisonEveryMs * 1.7);
}

function ask(verb: Verb, trait: Trait): void {
  count += 1;
  const to = trait === "poison" ? poisonedName : random.pick(serviceNames);
  const id = makeId(verb, verb === "publish" ? "all" : to, { origin: `${settings.process}.${count}`, trait });
  const fails =
    trait === "poison"
      ? "never"
      : random.weigh<Question["fails"]>([
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
  const { trait } = readId(id);
  const path = pathOf(id);
  const options = trait === "big" ? { headers: { big } } : {};
  switch (verb) {
    case "publish":
      await service.publish(path, question, { ...options, messageId: id });
      break;
    case "send":
      await service.send(to, path, question, { ...options, messageId: id });
      break;
    case "call": {
      const { body } = await service.call(to, path, question, options);
      if (question.fails !== "never") return "success-of-what-fails";
      if (trait === "poison") return "success-of-what-kills";
      if (!isAnswerTo(question, body)) return `answer:${spaceless(body)}`;
      break;
    }
    default:
      verb satisfies never;
  }
  return trait === "big" ? "success-of-what-is-too-big" : undefined;
}

function settle(id: string, wrong: string | undefined): void {
  if (!pending.delete(id)) return;
  if (wrong === undefined) ledger.write("confirmed", id);
  else ledger.write("wrong", id, wrong);
}

function reject(question: Question, error: unknown): void {
  const { id, fails } = question;
  if (!pending.delete(id)) return;
  if (!confluo.isConfluoError(error)) {
    ledger.write("wrong", id, `error:${spaceless(error)}`);
    return;
  }
  if (error.code === onPurpose) {
    // An answer, too: of this question?
    const right =
      error instanceof confluo.RemoteError &&
      fails !== "never" &&
      (error.data as { readonly id?: string })?.id === id;
    if (right) ledger.write("rejected", id, onPurpose);
    else ledger.write("wrong", id, `error:${spaceless(error.data)}`);
    return;
  }
  ledger.write("rejected", id, error.code);
  // The others are what they are for their own sake.
  if (readId(id).trait === "plain") quietUntil = ranMs + pauseAfterRejectionMs;
}

function spaceless(value: unknown): string {
  return String(JSON.stringify(value) ?? value)
    .replaceAll(/\s+/g, "_")
    .slice(0, 200);
}
