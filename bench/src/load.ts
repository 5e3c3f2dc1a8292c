/** Making messages, and taking the time. */

import { Worker } from "node:worker_threads";
import type { Case } from "./case.ts";
import type { Sent } from "./messages.ts";
import type { Body, Requester } from "./variants/variant.ts";

const MOST_LATENCIES = 1_000_000;

/** Sends for so long, then waits for what is under way. @throws for a wrong answer. */
export function send(requester: Requester, { load, bodyBytes }: Case, ms: number): Promise<Sent> {
  const text = "x".repeat(Math.max(0, bodyBytes - JSON.stringify({ id: 123_456, text: "" }).length));
  let last = 0;
  const nextBody = (): Body => {
    last += 1;
    return { id: last, text };
  };
  const call = async (): Promise<void> => {
    const body = nextBody();
    const answer = await requester.call(body);
    if (answer?.id !== body.id || answer.text !== text) throw wrongAnswer(body, answer);
  };
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
