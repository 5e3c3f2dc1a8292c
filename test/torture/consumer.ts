/**
 * Program of a process that handles: events, one-way commands and calls, some of which fail on purpose and a few of which
 * kill it.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "../../src/index.ts";
import { runProgram, startProgram } from "./program.ts";
import { Random } from "./random.ts";
import { answerTo, deadlineMs, isPoisonFor, onPurpose, type Question, readId, retry } from "./traffic.ts";

const program = await startProgram();
const { confluo, settings, broker, ledger } = program;
const random = new Random(`${settings.seed} ${settings.process}`);
const verbs = { event: "publish", send: "send", call: "call" } as const;

const service = new confluo.Service(settings.service, { broker, timeoutMs: deadlineMs, retry })
  .subscribe("/happened/:id", handle)
  .route("/do/:id", handle);
if (settings.version === "new") service.subscribe("/late/:id", handle).route("/new/:id", handle);

await runProgram(service, program, {
  begin: () => undefined,
  burst: () => undefined,
  end: async () => undefined,
  close: () => undefined,
});

async function handle({ kind, params, body, messageId, attempt }: Context): Promise<unknown> {
  const question = body as Question;
  const { id, fails } = question;
  const identity = readId(id);
  const named = identity.verb === "call" ? id : messageId;
  const mine = identity.services.find((name) => name === settings.service);
  if (params.id !== id || named !== id || verbs[kind] !== identity.verb || mine === undefined)
    ledger.write("wrong", id, `message:${kind}:${params.id}:${messageId}`);
  // Mostly short, sometimes long enough to be killed in the midst of it.
  await sleep(random.next() < 0.03 ? random.between(200, 1_500) : random.between(0, 20));
  if (mine !== undefined && isPoisonFor(mine, identity)) {
    ledger.write("died", settings.service, id, attempt);
    process.kill(process.pid, "SIGKILL");
  }
  if (fails === "for ever" || (fails === "at first" && attempt === 1)) {
    ledger.write("failed", settings.service, id, attempt);
    throw new confluo.ServiceError("fails on purpose", { status: 422, code: onPurpose, data: { id } });
  }
  ledger.write("handled", settings.service, id, attempt);
  return answerTo(question);
}
