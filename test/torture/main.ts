/** `npm run torture`: the command line of the ledger. */

import { parseArgs } from "node:util";
import { startTestBroker, startTestBroker4 } from "../../scripts/test-broker.mjs";
import { torture } from "./torture.ts";

const usage = `npm run torture -- [options]

  --minutes N        how long the faults go on, at most 60; default 10
  --broker URL,URL   a broker to use instead of one of its own; it is not restarted
  --rabbitmq4        a RabbitMQ 4 of its own, got as by npm run test:rabbitmq4
  --seed N           repeats the faults of an earlier run
  --keep FOLDER      keeps the ledgers and logs there`;

process.exitCode = await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  return 1;
});

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "10" },
      broker: { type: "string" },
      rabbitmq4: { type: "boolean", default: false },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
      keep: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const minutes = Number(values.minutes);
  const seed = Number(values.seed);
  if (!(minutes > 0 && minutes <= 60))
    throw new Error(`--minutes takes more than 0 and at most 60.\n\n${usage}`);
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error(`--seed takes a whole number.\n\n${usage}`);
  if (values.broker?.includes("amqps:"))
    throw new Error("--broker takes amqp:// URLs: the proxies do not speak TLS.");

  const ended = new AbortController();
  let endedAt = 0;
  const end = (): void => {
    // Ctrl-C in a terminal comes twice: from the terminal, and handed on by the script.
    if (endedAt > 0 && performance.now() - endedAt > 1_000) process.exit(130);
    if (endedAt > 0) return;
    endedAt = performance.now();
    console.log("Ending early; once more ends without the report.");
    ended.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, end);

  const env =
    values.broker === undefined ? process.env : { ...process.env, CONFLUO_TEST_BROKER: values.broker };
  if (values.rabbitmq4 && values.broker !== undefined)
    throw new Error(
      `--rabbitmq4 starts a broker of its own, and --broker names one: give one of the two.\n\n${usage}`,
    );
  const broker = await (values.rabbitmq4 ? startTestBroker4 : startTestBroker)({ env });
  try {
    console.log(`Broker: ${broker.description}`);
    console.log(`Seed: ${seed}, for ${minutes} min`);
    const brokerUrls = broker.url.split(",").map((url) => url.trim());
    // Where the support of the tests looks for it.
    process.env.CONFLUO_TEST_BROKER_URL = brokerUrls[0];
    const { text, lost, hung, wrong } = await torture({
      brokerUrls,
      restartBroker: broker.restart,
      forMs: minutes * 60_000,
      seed,
      rate: 280,
      faultEveryMs: 2_500,
      // A dead-lettering that was under way when a broker was killed is repeated only after 180 s.
      drainMs: 300_000,
      keep: values.keep,
      log: console.log,
      signal: ended.signal,
    });
    console.log(text);
    return lost + hung + wrong === 0 ? 0 : 1;
  } finally {
    await broker.stop();
  }
}
