/** The recipes of `docs/recipes.md` for tenants and managed brokers, on a RabbitMQ with its management plugin and a provider's limits. */

import { connect } from "amqplib";
import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { findNodeStarter } from "../scripts/test-broker.mjs";
import { Broker, isConfluoError, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { readRecipe } from "./support/recipe-page.ts";
import { atTheEnd, confluo, finished, folderOf, freshNamespace, start } from "./support/recipe-programs.ts";

const tenants = readRecipe("A namespace or a vhost for each tenant");
const managed = readRecipe("A managed broker");

/** Amazon MQ's limit on a message, which the recipe names. */
const MESSAGE_BYTES = 512 * 1024;

const starter = await findNodeStarter(testBrokerUrl());
if (typeof starter === "string") console.warn(`What needs a broker of its own is NOT RUN: ${starter}.`);

let node: Awaited<ReturnType<Exclude<typeof starter, string>>> | undefined;
let management = "";

beforeAll(async () => {
  if (typeof starter === "string") return;
  node = await starter({
    plugins: ["rabbitmq_management"],
    config: ({ port }) => [
      `max_message_size = ${MESSAGE_BYTES}`,
      "management.tcp.ip = 127.0.0.1",
      `management.tcp.port = ${port}`,
    ],
  });
  management = `http://guest:guest@127.0.0.1:${node.extraPort}`;
}, 120_000);

afterAll(() => node?.stop());

function ownNode(context: TestContext): {
  readonly url: string;
  control(...args: string[]): Promise<string>;
} {
  if (node?.control === undefined) return context.skip("there is no node of one's own");
  const { url, control } = node;
  return { url, control: (...args) => control(["--quiet", ...args]) };
}

const linesOf = (text: string): readonly string[] => text.trim().split("\n");

/** What a reader copies: the commands of a recipe, one a line. */
const commandsOf = (block: string | undefined): readonly (readonly string[])[] =>
  linesOf(block ?? "")
    .filter((line) => line.startsWith("rabbitmqctl "))
    .map((line) =>
      [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "").slice(1),
    );

/** What the management plugin says of a queue; it is some seconds behind. */
async function consumersOf(queue: string): Promise<number> {
  const { origin, username, password } = new URL(management);
  const headers = { authorization: `Basic ${btoa(`${username}:${password}`)}` };
  const response = await fetch(`${origin}/api/queues/%2F/${queue}`, { headers });
  const { consumers = 0 } = (await response.json()) as { readonly consumers?: number };
  return consumers;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "ok",
    (error: unknown) => (isConfluoError(error) ? error.code : String(error)),
  );
}

describe("the recipe for tenants", { timeout: 120_000 }, () => {
  const [calling = "", rights] = tenants.commands;
  const [answers, removed] = tenants.outputs;
  const figure = (row: string): readonly number[] => {
    const [, cell = ""] = new RegExp(`^\\| ${row}[^|]*\\| ([^|]*)\\|`, "m").exec(tenants.text) ?? [];
    return [...cell.matchAll(/\d+/g)].map(Number);
  };

  it("has a program that serves a namespace for each", async () => {
    const folder = folderOf(tenants);
    const names = [freshNamespace("orders"), freshNamespace("orders")];
    const env = { CONFLUO_BROKER: testBrokerUrl() };
    const program = start(folder, ["node", "tenants.js"], { ...env, TENANTS: names.join(",") });
    await eventually(() => program.errors.split("orders runs on").length === 3, "both to run");
    const shown = calling.matchAll(/call orders (\S+) --namespace (\w+)/g);
    const asked = [...shown].map(([, path = ""], n) =>
      finished(folder, [confluo, "call", "orders", path, "--namespace", names[n] ?? ""], env),
    );
    const named = (await Promise.all(asked)).join("");
    expect(named.replace(names[0] ?? "", "acme").replace(names[1] ?? "", "globex")).toBe(answers);
    expect(await program.terminate()).toBe(0);
  });

  it("has a program that serves a vhost for each, and rights that reach no further", async (context) => {
    const { url, control } = ownNode(context);
    await control("add_user", "globex", "pw");
    await control("add_user", "acme", "pw");
    for (const command of commandsOf(rights)) await control(...command);
    const own = new URL(url);
    own.username = "globex";
    own.password = "pw";
    const program = start(folderOf(tenants), ["node", "vhosts.js"], {
      CONFLUO_BROKER: own.href,
      TENANTS: "globex",
    });
    await program.says("orders runs on");
    const client = new Service("client", { broker: own.href, logger: silentLogger });
    expect(await codeOf(client.connect())).toBe("ACCESS_REFUSED"); // the vhost / is not its own
    own.pathname = "/globex";
    const inside = await new Service("client", { broker: own.href, logger: silentLogger }).connect();
    atTheEnd(() => inside.shutdown());
    expect((await inside.call("orders", "/orders/7")).body).toEqual({ tenant: "globex", id: "7" });
    const queues = linesOf(await control("list_queues", "-p", "globex", "name"));
    expect(queues.filter((name) => name.startsWith("confluo."))).toHaveLength(7);
    expect(await program.terminate()).toBe(0);
    await inside.shutdown();
    await control("delete_vhost", "globex");
    expect(linesOf(await control("list_vhosts", "name"))).not.toContain("globex");
  });

  it("counts the queues and exchanges that RabbitMQ lists", async (context) => {
    const { url, control } = ownNode(context);
    const namespace = "counted";
    const broker = new Broker(url, { namespace, logger: silentLogger });
    const listed = async (kind: "queues" | "exchanges"): Promise<readonly string[]> =>
      linesOf(await control(`list_${kind}`, "-p", "/", "name"));
    const own = async (kind: "queues" | "exchanges"): Promise<number> =>
      (await listed(kind)).filter((name) => name.startsWith(`${namespace}.`)).length;
    const ofInstances = async (): Promise<number> =>
      (await listed("queues")).filter((name) => name.startsWith("amq.gen-")).length;
    const before = await ofInstances();
    const client = await new Service("client", { broker, logger: silentLogger }).connect();
    atTheEnd(() => client.shutdown());
    expect([await own("queues"), await own("exchanges")]).toEqual(
      figure("queues, before there is a service"),
    );
    expect((await ofInstances()) - before).toBe(1);
    const orders = new Service("orders", { broker, logger: silentLogger });
    orders.route("/", () => 1).subscribe("/prices", () => undefined, { per: "instance" });
    await orders.connect();
    atTheEnd(() => orders.shutdown());
    await orders.call("orders", "/");
    const [shared = 0] = figure("queues, before there is a service");
    expect([(await own("queues")) - shared]).toEqual(figure("queues for each service"));
    expect([1, (await ofInstances()) - before - 1]).toEqual(figure("queues of each instance"));
  });

  it("says that a user without rights on a namespace can send into its inboxes, and do no more", async (context) => {
    const { url, control } = ownNode(context);
    const victim = new Broker(url, { namespace: "victim", logger: silentLogger });
    const orders = new Service("orders", { broker: victim, logger: silentLogger });
    const handled: unknown[] = [];
    orders.route("/orders/:id", ({ body }) => void handled.push(body));
    await orders.connect();
    atTheEnd(() => orders.shutdown());
    await control("add_user", "intruder", "pw");
    const [command = []] = commandsOf(rights);
    await control(...command.map((word) => word.replaceAll("acme", "intruder")));
    const own = new URL(url);
    own.username = "intruder";
    own.password = "pw";
    const as = (namespace: string): Service =>
      new Service("client", {
        broker: new Broker(own.href, { namespace, logger: silentLogger }),
        logger: silentLogger,
      });
    expect(await codeOf(as("victim").connect())).toBe("ACCESS_REFUSED");
    const home = await as("intruder").connect();
    await home.shutdown();
    const connection = await connect(own.href);
    atTheEnd(() => connection.close());
    const channel = await connection.createConfirmChannel();
    channel.publish("", "victim.orders.inbox", Buffer.from('"hello"'), {
      contentType: "application/json",
      type: "orders/7",
    });
    await channel.waitForConfirms();
    await eventually(() => handled.length > 0, "the command to be handled");
    expect(handled).toEqual(["hello"]);
  });

  it("has a program that removes a tenant, when nothing is consumed any more", async (context) => {
    const { url, control } = ownNode(context);
    const folder = folderOf(tenants);
    const program = start(folder, ["node", "tenants.js"], { CONFLUO_BROKER: url, TENANTS: "acme" });
    await program.says("orders runs on");
    const args = ["node", "remove-tenant.js", management, "acme"];
    await eventually(async () => (await consumersOf("acme.orders.inbox")) > 0, "a consumer to be seen", {
      timeoutMs: 30_000,
    });
    const refused = start(folder, args, {});
    expect(await refused.exit).toBe(1);
    expect(refused.errors).toContain("Stop the services first: ");
    expect(await program.terminate()).toBe(0);
    await eventually(async () => (await consumersOf("acme.orders.inbox")) === 0, "no consumer to be seen", {
      timeoutMs: 30_000,
    });
    expect(await finished(folder, args, {})).toBe(removed);
    for (const kind of ["queues", "exchanges"])
      expect(await control(`list_${kind}`, "-p", "/", "name")).not.toContain("acme.");
  });
});

describe("the recipe for managed brokers", { timeout: 120_000 }, () => {
  it("has a service that refuses what its broker would not take", async (context) => {
    const { url } = ownNode(context);
    const folder = folderOf(managed);
    const env = { CONFLUO_BROKER: url };
    const program = start(folder, [confluo, "run", "orders.js"], env);
    await program.says("running on");
    const { orders } = (await import(`${folder.path}/orders.js`)) as { readonly orders: Service };
    expect(orders.name).toBe("orders");
    const limited = new Broker(url, { maxBodyBytes: MESSAGE_BYTES, logger: silentLogger });
    const unlimited = new Broker(url, { logger: silentLogger });
    for (const broker of [limited, unlimited]) {
      const client = await new Service("client", { broker, logger: silentLogger }).connect();
      expect((await client.call("orders", "/orders/7")).body).toEqual({ id: "7" });
      expect(await codeOf(client.send("orders", "/orders/7", "x".repeat(MESSAGE_BYTES)))).toBe(
        "PAYLOAD_TOO_LARGE",
      );
      expect(await codeOf(client.send("orders", "/orders/7", "x".repeat(MESSAGE_BYTES - 2)))).toBe("ok");
      await client.shutdown();
    }
    expect(await program.terminate()).toBe(0);
  });

  it("has what doctor says of a policy as Amazon MQ sets it", async (context) => {
    const { url, control } = ownNode(context);
    const folder = folderOf(managed);
    const orders = new Service("orders", { broker: url, logger: silentLogger }).route("/", () => 1);
    await orders.connect();
    atTheEnd(() => orders.shutdown());
    const definition = JSON.stringify({ "max-length": 8_000_000, overflow: "reject-publish" });
    const name = "AWS-DEFAULT-POLICY-CLUSTER-MULTI-AZ";
    await control("set_policy", "-p", "/", name, ".*", definition, "--priority", "1");
    atTheEnd(() => control("clear_policy", "-p", "/", name));
    const env = { CONFLUO_BROKER: url, CONFLUO_MANAGEMENT: `${management}/` };
    // The management plugin shows a policy of quorum queues some seconds later than one of classic ones, queue by queue.
    const told = linesOf(managed.outputs[0] ?? "");
    let out = "";
    let code: number | null = null;
    await eventually(
      async () => {
        const doctor = start(folder, [confluo, "doctor"], env);
        code = await doctor.exit;
        out = doctor.output;
        return told.every((line) => linesOf(out).includes(line));
      },
      "doctor to say what the recipe shows",
      { timeoutMs: 90_000 },
    ).catch(() => undefined);
    expect(linesOf(out)).toEqual(expect.arrayContaining([...told]));
    expect(code).toBe(1);
  });

  it("has enough with ten consumers on a channel, however few calls a service handles at a time", async () => {
    const broker = freshBroker({ logger: silentLogger });
    atTheEnd(() => deleteNamespace(broker.namespace, ["deep"]));
    const deep = new Service("deep", {
      broker,
      logger: silentLogger,
      concurrency: { calls: 1, inbox: 1, waiting: 8_192 },
    });
    let consumers = 0;
    deep.route("/", async ({ body }) => {
      if (Number(body) > 0) await deep.call("deep", "/", Number(body) - 1);
      else consumers = (await broker.queue(`${broker.namespace}.deep.calls`))?.consumers ?? 0;
    });
    await deep.connect();
    atTheEnd(() => deep.shutdown());
    await deep.call("deep", "/", 1_100);
    expect(consumers).toBeGreaterThan(5);
    expect(consumers).toBeLessThanOrEqual(8);
  });

  it("has addresses that confluo takes", () => {
    const [, address = ""] = /CONFLUO_BROKER='(.*)'/.exec(managed.commands[0] ?? "") ?? [];
    expect(new Broker(address).description).toBe("amqps://host.example:5671/vhost");
  });
});
