/** An instance of the service `worker` of any build of confluo, or a plain AMQP program in its place. Answers until SIGTERM. */

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [build = "", url = "", namespace = ""] = process.argv.slice(2);
process.on("disconnect", () => process.exit(1)); // the test is gone

const stop = build === "plain" ? await answerPlainly() : await serve();
process.send?.("ready");
process.once("SIGTERM", async () => {
  await stop();
  process.exit(0);
});

async function serve() {
  const { Broker, Service, silentLogger } = await import(pathToFileURL(join(build, "dist", "index.js")).href);
  const broker = new Broker(url, { namespace, logger: silentLogger });
  const worker = new Service("worker", { broker, logger: silentLogger });
  worker.route("/echo", ({ body }) => body);
  await worker.connect();
  return () => worker.shutdown();
}

// Knows single calls, as the protocol describes them, and answers anything else with an error.
async function answerPlainly() {
  const { connect } = createRequire(import.meta.url)("amqplib");
  const connection = await connect(url, { noDelay: true });
  const channel = await connection.createChannel();
  const queue = `${namespace}.worker.calls`;
  await channel.assertQueue(queue, { arguments: { "x-queue-type": "classic", "x-expires": 30_000 } });
  await channel.prefetch(64);
  const { consumerTag } = await channel.consume(queue, (message) => {
    if (message === null) return;
    const { replyTo, correlationId, type, contentType } = message.properties;
    const isCall = type === "/echo" && contentType === "application/json";
    const headers = isCall ? {} : { "confluo-status": "400", "confluo-error": "NOT_UNDERSTOOD" };
    const body = isCall ? message.content : Buffer.from("{}");
    channel.sendToQueue(replyTo, body, { correlationId, contentType: "application/json", headers });
    channel.ack(message);
  });
  return async () => {
    await channel.cancel(consumerTag);
    await channel.close();
    await connection.close();
  };
}
