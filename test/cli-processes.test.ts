/** `confluo run` on a broker: several processes, the environment, and files of TLS on the command line. */

import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { CertificateAuthority } from "./support/certificates.ts";
import { runCommand, startCommand } from "./support/command-line.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { TcpProxy } from "./support/tcp-proxy.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

const confluo = pathToFileURL(join(import.meta.dirname, "..", "dist", "index.js")).href;
const patience = { timeoutMs: 30_000 };

function fileOf(name: string, content: string): string {
  const folder = mkdtempSync(join(tmpdir(), "confluo-processes-"));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

describe("confluo run", { timeout: 120_000 }, () => {
  it("tells over HTTP what all of its processes say, and ends all of them", async () => {
    const { namespace } = freshBroker();
    cleanUp.push(() => deleteNamespace(namespace, ["orders"]));
    const file = fileOf(
      "orders.mjs",
      `import { Service } from ${JSON.stringify(confluo)};
       export default new Service("orders").route("/pid", () => process.pid);`,
    );
    const child = startCommand(["run", file, "--instances", "2", "--http", "127.0.0.1:0"], {
      CONFLUO_BROKER: testBrokerUrl(),
      CONFLUO_NAMESPACE: namespace,
    });
    cleanUp.push(() => child.kill("SIGKILL"));
    const exit = once(child, "exit");
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    await eventually(() => said.split("running on amqp://").length === 3, "both to run", patience);
    for (const line of said.trim().split("\n")) expect(JSON.parse(line)).toMatchObject({ level: "info" });
    const [, url = ""] = /2 processes, together at (http:\S+\d)\./.exec(said) ?? [];
    await eventually(async () => (await fetch(`${url}/readyz`)).status === 200, "both to be ready", patience);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    for (const process of [1, 2])
      expect(metrics).toContain(`confluo_healthy{process="${process}",service="orders"} 1`);
    expect(metrics.split("# TYPE confluo_healthy gauge")).toHaveLength(2);
    child.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
  });

  it("has what a module makes by itself meet in the namespace that the option says", async () => {
    const broker = freshBroker({ logger: silentLogger });
    cleanUp.push(() => deleteNamespace(broker.namespace, ["orders"]));
    const file = fileOf(
      "orders.mjs",
      `import { Service } from ${JSON.stringify(confluo)};
       const client = new Service("client");
       export default new Service("orders").route("/asks", async () => {
         await client.connect();
         const { body } = await client.call("orders", "/told");
         await client.shutdown();
         return body;
       }).route("/told", () => "met");`,
    );
    const child = startCommand(["run", file, "--broker", testBrokerUrl(), "--namespace", broker.namespace]);
    cleanUp.push(() => child.kill("SIGKILL"));
    const exit = once(child, "exit");
    const caller = await new Service("caller", { broker, logger: silentLogger }).connect();
    cleanUp.push(() => caller.shutdown());
    await eventually(
      () =>
        caller.call("orders", "/asks").then(
          ({ body }) => body === "met",
          () => false,
        ),
      "an answer",
      patience,
    );
    child.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
  });

  it("waits for a broker that comes later", async () => {
    const { namespace } = freshBroker();
    cleanUp.push(() => deleteNamespace(namespace, ["orders"]));
    const proxy = new TcpProxy();
    proxy.refusing = true;
    const broker = await proxy.listen();
    cleanUp.push(() => proxy.close());
    const file = fileOf(
      "orders.mjs",
      `import { Service } from ${JSON.stringify(confluo)};
       export default new Service("orders").route("/", () => 1);`,
    );
    const child = startCommand(["run", file, "--broker", broker, "--namespace", namespace]);
    cleanUp.push(() => child.kill("SIGKILL"));
    const exit = once(child, "exit");
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    await eventually(() => said.includes("Trying again."), "an attempt", patience);
    proxy.refusing = false;
    await eventually(() => said.includes("orders: running on amqp://"), "the service", patience);
    child.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
  });
});

describe("files of TLS", { timeout: 120_000 }, () => {
  it("are taken from options and from the environment, by every command", async () => {
    const authority = new CertificateAuthority("the fleet's CA");
    const server = authority.issue({ name: "node", addresses: ["127.0.0.1"] });
    const own = authority.issue({ name: "operator" });
    const proxy = new TcpProxy({
      ...server,
      ca: authority.cert,
      requestCert: true,
      rejectUnauthorized: true,
    });
    const address = new URL(await proxy.listen());
    cleanUp.push(() => proxy.close());
    const ca = fileOf("ca.pem", authority.cert);
    const cert = fileOf("cert.pem", own.cert);
    const key = fileOf("key.pem", own.key);
    address.username ||= "guest";
    address.password ||= "guest";
    const env = { CONFLUO_BROKER: address.href, CONFLUO_NAMESPACE: freshBroker().namespace };
    const untrusted = await runCommand(["ls"], { env });
    expect([untrusted.code, untrusted.err]).toEqual([3, expect.stringContaining("CONFLUO_CA")]);
    const unknown = await runCommand(["ls", "--ca", ca], { env });
    expect([unknown.code, unknown.err]).toEqual([3, expect.stringContaining("CONFLUO_CERT")]);
    const known = ["ls", "--ca", ca, "--cert", cert, "--key", key];
    expect(await runCommand(known, { env })).toMatchObject({ code: 0 });
    const files = { CONFLUO_CA: ca, CONFLUO_CERT: cert, CONFLUO_KEY: key };
    expect(await runCommand(["ls"], { env: { ...env, ...files } })).toMatchObject({ code: 0 });
  });
});
