/** Making messages, and taking the time. */

import { Worker } from "node:worker_threads";
import type { Case } from "./case.ts";
import type { Outcomes, Sent } from "./messages.ts";
import type { Body, Requester } from "./variants/variant.ts";

const MOST_LATENCIES = 1_000_000;

/** Sends for so long, then waits for what is under way. @throws for a wrong answer. */
export function send(requester: Requester, { load, bodyBytes }: Case, ms: number): Promise<Sent> {
  const nextBody = bodiesOf(bodyBytes);
  const call = callOf(requester, nextBody);
  switch (load.kind) {
    case "calls":
      return keepInFlight(load.inFlight, call, ms);
    case "events":
      return keepInFlight(load.unconfirmed, () => requester.publish(nextBody()), ms);
    case "sends":
      return keepInFlight(load.unconfirmed, () => requester.send(nextBody()), ms);
    case "arrivals":
      return atRandom(load.perSecond, call, ms);
    default:
      return load satisfies never;
  }
}

// Or nothing would refer to what waits, and it would be collected.
const held: ((body: Body) => void)[] = [];

/** Begins so many calls at once and waits for none of them. `none`: what waits for them, without the calls. */
export function hold(
  requester: Requester,
  { bodyBytes }: Case,
  { count, calls }: { readonly count: number; readonly calls: "real" | "none" },
): void {
  const nothing = {
    ...requester,
    call: (): Promise<Body> => new Promise((resolve) => void held.push(resolve)),
  };
  const call = callOf(calls === "real" ? requester : nothing, bodiesOf(bodyBytes));
  // They fail when the programs end, if not before.
  for (let i = 0; i < count; i += 1) call().catch(() => undefined);
}

/** Begins so many calls at once and counts what becomes of them. Resolves when nothing is open, or at the latest then. */
export async function volley(
  requester: Requester,
  { bodyBytes }: Case,
  { count, withinMs }: { readonly count: number; readonly withinMs: number },
): Promise<Outcomes> {
  const call = callOf(requester, bodiesOf(bodyBytes));
  const began = performance.now();
  let answered = 0;
  let failed = 0;
  let lastMs = 0;
  const one = async (): Promise<void> => {
    try {
      await call();
      answered += 1;
    } catch {
      failed += 1;
    }
    lastMs = performance.now() - began;
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, withinMs);
  });
  await Promise.race([Promise.all(Array.from({ length: count }, one)), late]);
  clearTimeout(timer);
  return { answered, failed, hung: count - answered - failed, lastMs };
}

/** Different bodies of about so many bytes as JSON. */
function bodiesOf(bytes: number): () => Body {
  const text = "x".repeat(Math.max(0, bytes - JSON.stringify({ id: 123_456, text: "" }).length));
  let last = 0;
  return () => {
    last += 1;
    return { id: last, text };
  };
}

/** A call that rejects for a wrong answer. */
function callOf(requester: Requester, nextBody: () => Body): () => Promise<void> {
  return async () => {
    const body = nextBody();
    const answer = await requester.call(body);
    if (answer?.id !== body.id || answer.text !== body.text) throw wrongAnswer(body, answer);
  };
}

function wrongAnswer(asked: Body, answer: unknown): Error {
  const shown = JSON.stringify(answer)?.slice(0, 200);
  return new Error(`Asked with id ${asked.id}, the answer was ${shown}: this variant does not work.`);
}

async function keepInFlight(inFlight: number, one: () => Promise<void>, ms: number): Promise<Sent> {
  const latencies = new Latencies();
  const began = performance.now();
  const until = began + ms;
  let count = 0;
  const keepOn = async (): Promise<void> => {
    for (let now = performance.now(); now < until; ) {
      await one();
      const then = performance.now();
      latencies.add(then - now);
      count += 1;
      now = then;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, keepOn));
  return sent(count, began, latencies);
}

// Each call's time counts from when it should have begun: what a stalled process begins late is late.
async function atRandom(perSecond: number, one: () => Promise<void>, ms: number): Promise<Sent> {
  const latencies = new Latencies();
  const began = performance.now();
  const calls: Promise<void>[] = [];
  let count = 0;
  let failure: unknown;
  const timed = async (dueAt: number): Promise<void> => {
    await one();
    latencies.add(performance.now() - dueAt);
    count += 1;
  };
  const clock = new Worker(new URL("./arrivals.js", import.meta.url), {
    execArgv: [], // not the profiler: its file would take the place of the program's
    workerData: { perSecond, ms, origin: performance.timeOrigin + began },
  });
  clock.on("message", (due: readonly number[]) => {
    for (const ms of due) {
      calls.push(
        timed(began + ms).catch((error: unknown) => {
          failure ??= error;
        }),
      );
    }
  });
  await new Promise((resolve) => clock.once("exit", resolve));
  await Promise.all(calls);
  if (failure !== undefined) throw failure;
  return sent(count, began, latencies);
}

function sent(count: number, began: number, latencies: Latencies): Sent {
  const { timeOrigin } = performance;
  return {
    count,
    beganAt: timeOrigin + began,
    endedAt: timeOrigin + performance.now(),
    latencies: latencies.all(),
  };
}

/** The last million. */
class Latencies {
  readonly #ring = new Float64Array(MOST_LATENCIES);
  #count = 0;

  add(ms: number): void {
    this.#ring[this.#count % MOST_LATENCIES] = ms;
    this.#count += 1;
  }

  all(): Float64Array {
    return this.#ring.slice(0, Math.min(this.#count, MOST_LATENCIES));
  }
}
