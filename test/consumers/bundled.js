/** Loads everything that a bundle may lack: the embedded broker, the AMQP client, what an OpenTelemetry SDK asks for. */

import { Broker, Service, silentLogger } from "confluo";

async function main() {
  globalThis[Symbol.for("opentelemetry.js.api.1")] = {};
  const service = new Service("bundled", { logger: silentLogger });
  service.route("/", () => "ran").subscribe("/a/*", () => undefined);
  await service.connect("memory:");
  const { body } = await service.call("bundled", "/");
  await service.shutdown();
  const error = await new Broker("amqp://127.0.0.1:1").openClient().catch((reason) => reason);
  console.log(body, error.code, globalThis.require);
}

main();
