/**
 * Judges what did not go well: a rejection, a dead letter and a death have to be explained by a disturbance that was near,
 * or they are problems.
 */

import type { Account, Rejected } from "./account.ts";
import { type Disturbances, memberOf, theBroker } from "./disturbances.ts";
import type { Problem } from "./duty.ts";
import type { Stretch } from "./stalls.ts";
import { deadlineMs, isPoisonFor, onPurpose, readId, type ServiceName, serviceNames } from "./traffic.ts";

export interface Circumstances {
  readonly account: Account;
  readonly disturbances: Disturbances;
  /** The processes and what they belong to. */
  readonly members: readonly { readonly name: string; readonly service: string }[];
  /** How long after a disturbance of a process, or of the broker, things may still go wrong because of it. */
  readonly recoveryMs: number;
  /** When the run began, in milliseconds since 1970. */
  readonly epoch: number;
}

/** An answer may be under way for so long, on a machine that has too much to do. */
const answerMs = 4_000;
/** What is told by two clocks, of two processes, may differ by that much; and what they tell of may overlap. */
const slackMs = 2_000;
/** A call costs two instances, anything else three. */
const mostDeaths = { call: 2, publish: 3, send: 3 } as const;

/** Codes that a fault leads to. */
const codesOfFaults = [
  "TIMEOUT",
  "CONNECTION_LOST",
  "NOT_CONNECTED",
  "SHUTTING_DOWN",
  "OVERLOADED",
  "NO_SUCH_SERVICE",
  "UNAVAILABLE",
  "INSTANCE_LOST",
];
/** Of these, what a sender sees when its own connection or the broker has gone. */
const codesOfSenders = ["CONNECTION_LOST", "NOT_CONNECTED", "SHUTTING_DOWN", "OVERLOADED"];

export function judge(circumstances: Circumstances): readonly Problem[] {
  const { account } = circumstances;
  return [
    ...account.rejected.flatMap((rejected) => judgeRejection(rejected, circumstances) ?? []),
    ...judgeLetters(circumstances),
    ...serviceNames.flatMap((service) => [...judgePoisons(service, circumstances)]),
  ];
}

function judgeRejection(rejected: Rejected, circumstances: Circumstances): Problem | undefined {
  const { asked, code, at } = rejected;
  const { verb, services, trait } = readId(asked.id);
  const problem = (what: Problem["what"], why: string): Problem => ({
    what,
    story: `${asked.id}, asked at ${asked.at} ms, rejected with ${code} at ${at} ms${why}`,
  });
  if (trait === "big" && code === "INVALID_ARGUMENT") return undefined;
  if (trait === "new" && verb === "call" && code === "NO_SUCH_ROUTE") return undefined;
  if (!codesOfFaults.includes(code)) return problem("wrong", ", a code that no fault explains");

  const { account, disturbances, members, recoveryMs } = circumstances;
  const caller = [memberOf(asked.by), theBroker];
  const handlers = members.filter(({ service }) => services.some((name) => name === service));
  const all = [...caller, ...handlers.map(({ name }) => name)];
  const during: Stretch = { from: asked.at - recoveryMs, to: at };
  if (verb !== "call" || codesOfSenders.includes(code)) {
    if (disturbances.within(caller, during).length > 0) return undefined;
    return problem("unexplained", ": neither its sender nor the broker was disturbed");
  }
  if (code === "INSTANCE_LOST") {
    if (trait === "poison") return undefined;
    const losses = disturbances.within(all, { ...during, from: asked.at - slackMs }).length;
    if (losses >= mostDeaths.call) return undefined;
    return problem("unexplained", `: ${losses} instances were lost meanwhile`);
  }
  for (const end of account.endsOf(asked.id)) {
    if (end.at > asked.at + deadlineMs - answerMs) continue;
    const to = end.at + answerMs;
    const callers = disturbances.within(caller, { from: asked.at - slackMs, to });
    const others = disturbances.within([memberOf(end.by), theBroker], { from: end.at - slackMs, to });
    if (callers.length + others.length > 0) continue;
    if (disturbances.within([theBroker], { from: during.from, to }).length > 0) continue;
    return problem("unanswered", `: ${end.by} had handled it at ${end.at} ms, undisturbed like its caller`);
  }
  if (disturbances.within(all, during).length > 0) return undefined;
  return problem("unexplained", ": nobody who had to do with it was disturbed");
}

function* judgeLetters(circumstances: Circumstances): Generator<Problem> {
  const { account, disturbances, members, epoch } = circumstances;
  for (const { id, code, service, failedAt = Number.POSITIVE_INFINITY } of account.letters) {
    if (id === undefined || code === onPurpose) continue;
    const story = `${service} ${id}, a dead letter with ${code}`;
    if (code !== "INSTANCE_LOST") {
      yield { what: "wrong", story: `${story}, which nothing here leads to` };
      continue;
    }
    if (isPoisonFor(service, readId(id))) continue;
    const handlers = members.filter((member) => member.service === service).map(({ name }) => name);
    const from = (account.confirmedAt(service, id) ?? 0) - slackMs - deadlineMs;
    const losses = disturbances.within([...handlers, theBroker], { from, to: failedAt - epoch });
    if (losses.length < mostDeaths.send)
      yield { what: "wrong", story: `${story}, though ${losses.length} instances were lost meanwhile` };
  }
}

function* judgePoisons(service: ServiceName, { account, disturbances }: Circumstances): Generator<Problem> {
  const poisons = [...account.poisons(service)];
  for (const { id, deaths } of poisons) {
    const { verb } = readId(id);
    const most = mostDeaths[verb];
    const first = Math.min(...deaths);
    const last = Math.max(...deaths);
    if (deaths.length <= most) continue;
    const others = poisons.filter(
      (other) => other.id !== id && other.deaths.some((at) => at > first - slackMs && at < last + slackMs),
    );
    // Its sender sends again what was not confirmed, so there may be two of it; and several killers cost more.
    const sender = id.split(".")[2] ?? "";
    const twice = disturbances.within([sender, theBroker], { from: first - deadlineMs, to: last }).length > 0;
    if (deaths.length <= most * ((twice ? 2 : 1) + others.length)) continue;
    yield {
      what: "wrong",
      story: `${service} ${id} killed ${deaths.length} processes, at ${deaths.join(", ")} ms`,
    };
  }
}
