/** Program of a process that handles: events, one-way commands and calls, some of which fail on purpose. */

import { setTimeout as sleep } from "node:timers/promises";
import { type Context, Service, ServiceError } from "../../src/index.ts";
import { runProgram, startProgram } from "./program.ts";
import { Random } from "./random.ts";
import { answerTo, deadlineMs, onPurpose, type Question, readId } from "./traffic.ts";

const program = startProgram();
const { settings, broker, ledger } = program;
const random = new Random(`${settings.seed} ${settings.process}`);
const verbs = { event: "publish", send: "send", call: "call" } as const;

// Few and short waits, so that what fails for ever is dead soon after the faults end.
const retry = { attempts: 4, backoff: { firstMs: 250, maxMs: 1_000 } } as const;

const service = new Service(settings.service, { broker, timeoutMs: deadlineMs, retry })
  .subscribe("/happened/:id", handle)
  .route("/do/:id", handle);

await runProgram(service, program, {
  begin: () => undefined,
  end: async () => undefined,
  close: () => undefined,
});

async function handle({ kind, params, body, messageId, attempt }: Context): Promise<unknown> {
  const question = body as Question;
  const { id, fails } = question;
  const { verb, services } = readId(id);
  const named = verb === "call" ? id : messageId;
  const mine = services.some((name) => name === settings.service);
  if (params.id !== id || named !== id || verbs[kind] !== verb || !mine)
    ledger.write("wrong", id, `message:${kind}:${params.id}:${messageId}`);
  // Mostly short, sometimes long enough to be killed in the midst of it.
  await sleep(random.next() < 0.03 ? random.between(200, 1_500) : random.between(0, 20));
  if (fails === "for ever" || (fails === "at first" && attempt === 1)) {
    ledger.write("failed", settings.service, id, attempt);
    throw new ServiceError("fails on purpose", { status: 422, code: onPurpose, data: { id } });
  }
  ledger.write("handled", settings.service, id, attempt);
  return answerTo(question);
}
