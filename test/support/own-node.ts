/** Nodes of RabbitMQ that a test has to itself, to stop them or to change their users. */

import { connect } from "amqplib";
import { afterAll, beforeAll, type TestContext } from "vitest";
import { startOwnNode, type TestBroker } from "../../scripts/test-broker.mjs";
import { testBrokerUrl } from "./rabbitmq.ts";

/** Starts a node; returns why there is none where RabbitMQ is not installed. Rejects where it does not start. */
export async function startNodeIfInstalled(
  wanted: Parameters<typeof startOwnNode>[0],
): Promise<TestBroker | string> {
  try {
    return await startOwnNode(wanted);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (/no RabbitMQ is installed/.test(reason)) return reason;
    throw error;
  }
}

/** The same, of the version that the broker under test has. */
async function startNodeOfTestedVersion(): Promise<TestBroker | string> {
  const connection = await connect(testBrokerUrl().split(",")[0] ?? "");
  const version = String(connection.connection.serverProperties.version);
  await connection.close();
  return startNodeIfInstalled({ version });
}

/** Runs such a node for all tests of a file. Returns a function that returns it, or skips the test where there is none. */
export function nodeForThisFile(): (context: TestContext) => TestBroker {
  let node: TestBroker | string = "it was not started";
  beforeAll(async () => {
    node = await startNodeOfTestedVersion();
  }, 120_000);
  afterAll(async () => {
    if (typeof node === "object") await node.stop();
  });
  return (context) => (typeof node === "string" ? context.skip(node) : node);
}
