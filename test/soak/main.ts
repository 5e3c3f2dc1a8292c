/** `npm run soak`: as many small events through one service as go in the time, and what becomes of its memory. */

import { parseArgs } from "node:util";
import { startTestBroker, startTestBroker4 } from "../../scripts/test-broker.mjs";
import { Broker, Service, silentLogger } from "../../src/index.ts";

const usage = `npm run soak -- [options]

  --minutes N     how long, at most 60; default 15
  --rabbitmq4     on a RabbitMQ 4
  --slow          the handler takes 20 ms, so that the queue grows and the process must not`;

/** Events that are not confirmed yet, at most. */
const UNDER_WAY = 1_000;
/** How far the handler may be behind, unless it is slow on purpose. */
const MOST_BEHIND = 20_000;
const SAMPLE_MS = 10_000;
/** What the memory in use may be above that of the first third, at the end. */
const MOST_GROWTH_MB = 8;

interface Sample {
  readonly atMs: number;
  readonly heapMb: number;
  readonly rssMb: number;
  readonly handled: number;
}

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "15" },
      rabbitmq4: { type: "boolean", default: false },
      slow: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const minutes = Number(values.minutes);
  if (values.help || !(minutes > 0 && minutes <= 60)) {
    console.log(usage);
    return values.help ? 0 : 1;
  }
  const broker = await (values.rabbitmq4 ? startTestBroker4 : startTestBroker)();
  console.log(`Broker: ${broker.description}`);
  try {
    const samples = await soak(broker.url, minutes * 60_000, values.slow ? 20 : 0);
    return judge(samples);
  } finally {
    await broker.stop();
  }
}

async function soak(url: string, forMs: number, handlerMs: number): Promise<readonly Sample[]> {
  const namespace = `soak-${process.pid}`;
  const make = (name: string): Service =>
    new Service(name, { broker: new Broker(url, { namespace, logger: silentLogger }), logger: silentLogger });
  let handled = 0;
  const worker = await make("worker")
    .subscribe("/tick", async () => {
      if (handlerMs > 0) await new Promise((resolve) => setTimeout(resolve, handlerMs));
      handled += 1;
    })
    .connect();
  const publisher = await make("publisher").connect();
  const began = performance.now();
  const end = began + forMs;
  let published = 0;
  const publish = async (): Promise<void> => {
    while (performance.now() < end) {
      if (handlerMs === 0 && published - handled > MOST_BEHIND) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        continue;
      }
      published += 1;
      await publisher.publish("/tick", { n: published }, { timeoutMs: 60_000 });
    }
  };
  const samples: Sample[] = [];
  const sample = (): void => {
    globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    const atMs = performance.now() - began;
    samples.push({ atMs, heapMb: (heapUsed + external) / 2 ** 20, rssMb: rss / 2 ** 20, handled });
    const { heapMb, rssMb } = samples.at(-1) as Sample;
    const at = `${Math.floor(atMs / 60_000)}:${String(Math.floor(atMs / 1_000) % 60).padStart(2, "0")}`;
    console.log(
      `${at}  published ${published.toLocaleString("en")}, handled ${handled.toLocaleString("en")}, ` +
        `in use ${heapMb.toFixed(1)} MB, resident ${rssMb.toFixed(0)} MB`,
    );
  };
  const sampling = setInterval(sample, SAMPLE_MS);
  await Promise.all(Array.from({ length: UNDER_WAY }, publish));
  clearInterval(sampling);
  sample();
  await Promise.all([worker.shutdown(), publisher.shutdown()]);
  console.log(`${(published / (forMs / 1_000)).toFixed(0)} events a second published.`);
  return samples;
}

function judge(samples: readonly Sample[]): number {
  const third = Math.max(1, Math.floor(samples.length / 3));
  const mean = (part: readonly Sample[]): number =>
    part.reduce((sum, { heapMb }) => sum + heapMb, 0) / part.length;
  // The first sample is taken while caches fill.
  const [first, last] = [mean(samples.slice(1, 1 + third)), mean(samples.slice(-third))];
  const verdict = last - first > MOST_GROWTH_MB ? "It grew." : "It did not grow.";
  console.log(
    `In use in the first third ${first.toFixed(1)} MB, in the last ${last.toFixed(1)} MB. ${verdict}`,
  );
  return last - first > MOST_GROWTH_MB ? 1 : 0;
}
