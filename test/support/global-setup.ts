import type { TestProject } from "vitest/node";
import { startTestBroker } from "../../scripts/test-broker.mjs";

declare module "vitest" {
  interface ProvidedContext {
    /** The broker the tests run on. It is shared: a test keeps to a namespace of its own. */
    readonly brokerUrl: string;
  }
}

/** Hands the broker of `npm test` to the tests, or starts one where vitest was run directly. */
export default async function setUp(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env.CONFLUO_TEST_BROKER_URL;
  if (given !== undefined) {
    project.provide("brokerUrl", given);
    return undefined;
  }
  const broker = await startTestBroker();
  console.log(`Broker: ${broker.description}`);
  process.env.CONFLUO_TEST_BROKER_URL = broker.url;
  project.provide("brokerUrl", broker.url);
  return () => broker.stop();
}
