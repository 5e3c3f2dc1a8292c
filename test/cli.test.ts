/** From 'something is wrong' to the replayed message, in a terminal; and the rest of the command line on a broker. */

import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type Broker, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { type Finished, runCommand, startCommand } from "./support/command-line.ts";
import { startProcess, terminate } from "./support/forked.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

interface Shop {
  readonly broker: Broker;
  readonly confluo: (line: string, input?: string) => Promise<Finished>;
  mend(): void;
}

async function openShop(): Promise<Shop> {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, ["orders", "stock", "mail"]));
  const folder = mkdtempSync(join(tmpdir(), "confluo-cli-"));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  const mended = join(folder, "mended");
  const child = await startProcess("shop.ts", [testBrokerUrl(), broker.namespace, mended]);
  cleanUp.push(() => terminate(child));
  const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
  return {
    broker,
    confluo: (line, input) => runCommand(line.split(" "), { env, ...(input === undefined ? {} : { input }) }),
    mend: () => writeFileSync(mended, ""),
  };
}

/** A tail of the orders' events that follows by now. Resolves with its lines once one of them has the text. */
async function openTail({ broker, confluo }: Shop): Promise<(text: string) => Promise<readonly string[]>> {
  const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
  const tail = startCommand(["tail", "/orders/#"], env);
  cleanUp.push(() => tail.kill("SIGKILL"));
  let out = "";
  tail.stdout?.on("data", (chunk: Buffer) => {
    out += chunk.toString();
  });
  await eventually(async () => {
    await confluo("publish /orders/anyone-there");
    return out.includes("anyone-there");
  }, "the tail to follow");
  return async (text) => {
    await eventually(() => out.includes(text) && out.endsWith("\n"), `an event with ${text}`);
    return out.trim().split("\n");
  };
}

describe("a terminal at three in the morning", { timeout: 120_000 }, () => {
  it("leads from what is wrong to the replayed message", async () => {
    const shop = await openShop();
    const { broker, confluo, mend } = shop;
    // A customer complains: no mail came. Who is there?
    expect(await confluo('call orders /place {"order":7}')).toEqual({ code: 0, out: '"placed"\n', err: "" });
    await eventually(async () => (await broker.deadLetters("mail").count()) === 1, "the dead letter");
    const ls = await confluo("ls");
    expect(ls.code).toBe(0);
    const [over, title, mail, orders, stock] = ls.out.split("\n") as [string, string, string, string, string];
    expect(over).toContain("of the last 5 to 10 s");
    expect(title).toMatch(/^SERVICE +INSTANCES +HEALTH +RATE .* FAILED +DEAD +LAST ERROR$/);
    expect(mail).toMatch(/^mail +1 +healthy .* 1 +1 +HANDLER_FAILED: the mail server refused$/);
    expect(orders).toMatch(/^orders +1 +healthy .* 0 +0$/);
    expect(stock).toMatch(/^stock +1 +healthy .* 0 +0$/);
    // Are the events there at all? The next order tells.
    const tailed = await openTail(shop);
    await confluo('call orders /place {"order":8}');
    const seen = (await tailed("placed")).map((line) => JSON.parse(line) as { readonly path: string });
    expect(seen.find(({ path }) => path === "/orders/placed")).toMatchObject({
      from: "orders",
      body: { order: 8 },
    });
    await eventually(async () => (await broker.deadLetters("mail").count()) === 2, "the second dead letter");
    const doctor = await confluo("doctor");
    expect(doctor.code).toBe(0);
    expect(doctor.out).toMatch(
      /^warning +mail has given up 2 messages\.\n +→ confluo dead ls mail lists them; /m,
    );
    expect(doctor.out).toMatch(/^ok +orders: 1 healthy/m);
    // mail it is. What of it fails?
    const show = await confluo("show mail");
    expect(show.out).toMatch(/\/orders\/placed +subscription .* 0 +2 +0 +0 +2 +0 /);
    expect(show.out).toMatch(/dead: 2 waiting, 0 consumers/);
    expect(show.out).toMatch(/\/orders\/placed HANDLER_FAILED the mail server refused/);
    // What was given up, and what is in it?
    const dead = await confluo("dead ls");
    expect(dead.out).toMatch(/^mail +2 +HANDLER_FAILED +\/orders\/placed /m);
    const each = await confluo("dead ls mail --letters");
    const ids = (await broker.deadLetters("mail").list()).map(({ id }) => id);
    for (const id of ids)
      expect(each.out).toMatch(new RegExp(`^mail +${id} .* HANDLER_FAILED +/orders/placed `, "m"));
    const letter = await confluo("dead show mail");
    expect(letter.out).toMatch(/^event +\/orders\/placed$/m);
    expect(letter.out).toMatch(/^from +orders$/m);
    expect(letter.out).toContain('"order": 7');
    // Mended; once more, for that one first.
    mend();
    const [id = ""] = (await broker.deadLetters("mail").list()).map((each) => each.id);
    const replayed = await confluo(`dead replay mail ${id} --yes`);
    expect(replayed).toEqual({ code: 0, out: "1 replayed.\n", err: "" });
    await eventually(async () => {
      const [{ subscriptions: [handled] = [] } = {}] = await broker.stats({ service: "mail" });
      return handled?.handled === 1;
    }, "the mail");
    expect(await confluo("dead replay mail --error HANDLER_FAILED --path /orders/placed --yes")).toEqual({
      code: 0,
      out: "1 replayed.\n",
      err: "",
    });
    expect((await confluo("dead ls mail")).out).toBe("No dead letters of mail.\n");
  });

  it("follows events and disturbs no one", async () => {
    const { broker, confluo } = await openShop();
    const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
    const tail = startCommand(["tail", "/orders/#", "--count", "2"], env);
    cleanUp.push(() => tail.kill("SIGKILL"));
    const ended = once(tail, "exit");
    let out = "";
    tail.stdout?.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    const publisher = await new Service("publisher", { broker, logger: silentLogger }).connect();
    cleanUp.push(() => publisher.shutdown());
    await eventually(async () => {
      await publisher.publish("/orders/placed", { order: 1 });
      return out.split("\n").length > 2;
    }, "two events");
    expect(await ended).toEqual([0, null]);
    const lines = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(lines).toHaveLength(2);
    for (const line of lines)
      expect(line).toMatchObject({ path: "/orders/placed", from: "publisher", body: { order: 1 } });
    // Only those that are there: it has left no queue, and the services' own are as they were.
    expect((await confluo("ls --json")).out).not.toContain("confluo-cli");
  });

  it("ends a tail with Ctrl-C, and says so to a script", async () => {
    const { broker } = await openShop();
    const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
    const tail = startCommand(["tail"], env);
    const ended = once(tail, "exit");
    const publisher = await new Service("publisher", { broker, logger: silentLogger }).connect();
    cleanUp.push(() => publisher.shutdown());
    let seen = false;
    tail.stdout?.on("data", () => {
      seen = true;
    });
    await eventually(async () => {
      await publisher.publish("/ticks");
      return seen;
    }, "an event");
    tail.kill("SIGINT");
    expect((await ended)[0]).toBe(0);
  });
});

describe("the verbs in a terminal", { timeout: 60_000 }, () => {
  it("take bodies from arguments, files and standard input, and print for machines", async () => {
    const { confluo } = await openShop();
    expect((await confluo("call orders /orders/5")).out).toBe('{"id":"5"}\n');
    const full = await confluo("call orders /orders/5 --json");
    expect(JSON.parse(full.out)).toMatchObject({ status: 200, headers: {}, body: { id: "5" } });
    expect((await confluo("call orders /place -", '{"order":8}')).out).toBe('"placed"\n');
    expect((await confluo("call orders /place --file package.json")).code).toBe(0);
    expect((await confluo("call orders /orders/5 --repeat 3")).out).toBe('{"id":"5"}\n'.repeat(3));
    expect(await confluo("send stock /nothing")).toMatchObject({ code: 0, out: "" });
    expect((await confluo("publish /orders/placed {} --json")).out).toBe('{"published":"/orders/placed"}\n');
  });

  it("end with codes that tell a script what went wrong", async () => {
    const { confluo } = await openShop();
    const missing = await confluo("call nobody /x");
    expect(missing).toMatchObject({ code: 1, out: "" });
    expect(missing.err).toMatch(
      /^confluo: No queue takes commands for "nobody".*\(NO_SUCH_SERVICE\)\n.*confluo ls.*\n$/,
    );
    expect((await confluo("call orders /nowhere")).err).toContain("NO_SUCH_ROUTE");
    const malformed = await confluo("call orders /place {");
    expect(malformed.code).toBe(2);
    expect(malformed.err).toContain("use --text");
    expect((await confluo("call orders /place hello --text")).out).toBe('"placed"\n');
    expect((await confluo("show nobody")).code).toBe(1);
    expect(await confluo("dead show stock")).toEqual({
      code: 1,
      out: "",
      err: "stock has no dead letters.\n",
    });
    expect((await confluo("dead show stock.dead")).err).toBe("stock.dead has no dead letters.\n");
    for (const line of [
      "dead ls sotck",
      "dead ls orphans.dead",
      "dead show sotck",
      "dead drop sotck --all --yes",
    ]) {
      const mistyped = await confluo(`${line} --json`);
      expect([mistyped.code, mistyped.out]).toEqual([1, ""]);
      expect(JSON.parse(mistyped.err)).toMatchObject({ error: { code: "NO_SUCH_SERVICE" } });
    }
    expect((await confluo("dead replay stock")).err).toContain("Which letters?");
    expect((await confluo("dead replay stock --all --yes")).code).toBe(1);
    const unreachable = await confluo("ls --broker amqp://127.0.0.1:1 --timeout 1s");
    expect(unreachable.code).toBe(3);
  });
});

it("loses no dead letter when a replay is interrupted", { timeout: 60_000 }, async () => {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, ["mail"]));
  // Nobody takes what comes back.
  const mail = await new Service("mail", { logger: silentLogger })
    .route("/sent", () => undefined)
    .connect(broker);
  await mail.shutdown();
  const letters = 4_000;
  const queue = (name: string): string => `${broker.namespace}.mail.${name}`;
  const client = await broker.openClient();
  cleanUp.push(() => client.close());
  const write = (n: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const message = {
        body: Buffer.from("{}"),
        properties: { messageId: `m-${n}`, type: "/sent", mandatory: true },
      } as const;
      client.publish({ exchange: "", key: queue("dead") }, message, (failure) =>
        failure === undefined ? resolve() : reject(new Error(failure)),
      );
    });
  await Promise.all(Array.from({ length: letters }, (_, n) => write(n)));
  const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
  const replay = startCommand(["dead", "replay", "mail", "--all", "--yes"], env);
  cleanUp.push(() => replay.kill("SIGKILL"));
  let said = "";
  replay.stderr?.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const ended = once(replay, "close");
  await eventually(
    async () => ((await client.inspectQueue(queue("inbox")))?.messages ?? 0) > 0,
    "a first copy",
  );
  replay.kill("SIGINT");
  expect((await ended)[0]).toBe(130);
  const [, replayed] =
    /^At least (\d+) of 4000 were replayed before the error; the others stay in the queue\.\n$/.exec(said) ??
    [];
  expect(Number(replayed)).toBeGreaterThan(0);
  expect(Number(replayed)).toBeLessThan(letters);
  const counts = async (): Promise<readonly [dead: number, back: number]> => {
    const [dead, back] = await Promise.all(
      [queue("dead"), queue("inbox")].map((name) => client.inspectQueue(name)),
    );
    return [dead?.messages ?? 0, back?.messages ?? 0];
  };
  // A copy whose letter was not removed any more is there twice, which is what replay promises.
  await eventually(async () => {
    const [dead, back] = await counts();
    return dead + back >= letters && dead <= letters - Number(replayed);
  }, "every letter in one of the queues");
  expect(await runCommand(["dead", "replay", "mail", "--all", "--yes"], { env })).toMatchObject({ code: 0 });
  const [dead, back] = await counts();
  expect([dead, back >= letters]).toEqual([0, true]);
});

describe("doctor", { timeout: 60_000 }, () => {
  it("tries each node of a cluster, and names the one that does not answer", async () => {
    const { confluo } = await openShop();
    const doctor = await confluo(`doctor orders --broker ${testBrokerUrl()},amqp://127.0.0.1:1`);
    expect(doctor.code).toBe(0);
    expect(doctor.out).toMatch(
      /^warning +No broker answers at amqp:\/\/127\.0\.0\.1:1 .*\n +→ Services connect/m,
    );
    expect(doctor.out).toMatch(/^ok +orders: 1 healthy/m);
  });

  it("finds what nobody consumes, what differs, and bindings that are left over, and says what to do", async () => {
    const { broker, confluo } = await openShop();
    const name = (queue: string): string => `${broker.namespace}.${queue}`;
    const client = await broker.openClient();
    cleanUp.push(() => client.close());
    await client.declareQueue({ name: name("gone.inbox"), arguments: { "x-queue-type": "classic" } });
    cleanUp.push(() => client.deleteQueue(name("gone.inbox")));
    await client.bind(name("stock.inbox"), name("events"), "orders.*.returned");
    const named = await confluo("doctor gone nowhere");
    expect(named.code).toBe(1);
    expect(named.out).toMatch(
      /^problem +Nobody consumes the inbox queue of gone; 0 wait\.\n +→ Start an instance/m,
    );
    expect(named.out).toMatch(/^problem .*gone\.inbox/m);
    expect(named.out).toContain("There is no service nowhere.");
    expect(named.out).toContain("AMQP lists neither");
    // What the management plugin would say.
    const listed = createServer(({ url, headers }, response) => {
      const isAllowed = headers.authorization === `Basic ${Buffer.from("u:p").toString("base64")}`;
      const limited = {
        name: name("mail.dead"),
        policy: "all",
        effective_policy_definition: { "message-ttl": 60_000 },
      };
      const inboxes = ["stock", "mail", "gone"].map((service) => ({ name: name(`${service}.inbox`) }));
      const queues = [...inboxes, limited];
      const bindings = ["orders.placed", "orders.*.returned"].map((key) => ({
        destination: name("stock.inbox"),
        routing_key: key,
      }));
      const flags = [
        { name: "quorum_queue", state: "enabled", stability: "required" },
        { name: "khepri_db", state: "disabled", stability: "stable" },
      ];
      const answer = url?.startsWith("/api/queues/%2F")
        ? queues
        : url === "/api/feature-flags"
          ? flags
          : url?.endsWith("/bindings/source")
            ? bindings
            : {};
      response.writeHead(isAllowed ? 200 : 401).end(JSON.stringify(answer));
    }).listen(0, "127.0.0.1");
    cleanUp.push(() => listed.close());
    await once(listed, "listening");
    const { port } = listed.address() as AddressInfo;
    const all = await confluo(`doctor --json --management http://u:p@127.0.0.1:${port}`);
    const findings = all.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { level: string; what: string; todo: string });
    expect(
      findings.find(({ what }) => what.startsWith("Nobody consumes the inbox queue of gone"))?.level,
    ).toBe("problem");
    expect(findings.find(({ what }) => what.includes("/orders/*/returned"))).toMatchObject({
      level: "warning",
      todo: "If they are no longer needed: confluo unbind stock '/orders/*/returned'.",
    });
    expect(findings.map(({ what }) => what)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(
          /^The policy all sets message-ttl .*mail\.dead: letters are destroyed after 1 min/,
        ),
        expect.stringContaining("disabled: khepri_db"),
        expect.stringContaining("The clocks of all hosts are close"),
      ]),
    );
    const refused = await confluo(`doctor --management http://127.0.0.1:${port}`);
    expect(refused.code).toBe(1);
    expect(refused.out).toMatch(/^problem +RabbitMQ's management answers .* with 401\.$/m);
    expect(refused.out).toMatch(/^ok +orders: 1 healthy/m);
    const noUrl = await confluo("doctor --management localhost");
    expect([noUrl.code, noUrl.out]).toEqual([2, ""]);
  });

  it("does not make what is not there", async () => {
    const broker = freshBroker({ logger: silentLogger });
    const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
    const { code, out } = await runCommand(["doctor", "orders"], { env });
    expect(code).toBe(0);
    expect(out).toContain("No service ever connected");
    expect(await broker.queue(`${broker.namespace}.orphans`)).toBeUndefined();
  });
});

it("puts a load on a broker, and leaves nothing there", { timeout: 60_000 }, async () => {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, []));
  const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
  const { code, out, err } = await runCommand(["bench", "--for", "300ms", "--json"], { env });
  expect([code, err]).toEqual([0, ""]);
  const results = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { what: string; count: number });
  expect(results.map(({ what }) => what)).toEqual(["calls", "events, confirmed"]);
  expect(results.every(({ count }) => count > 0)).toBe(true);
});

it("lists fifty instances", { timeout: 60_000 }, async () => {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() =>
    deleteNamespace(
      broker.namespace,
      Array.from({ length: 50 }, (_, n) => `s${n % 10}`),
    ),
  );
  const services = Array.from({ length: 50 }, (_, n) => new Service(`s${n % 10}`, { logger: silentLogger }));
  cleanUp.push(() => Promise.all(services.map((service) => service.shutdown())));
  await Promise.all(services.map((service) => service.route("/", () => 1).connect(broker)));
  const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
  const { out } = await runCommand(["ls", "--json"], { env });
  const lines = JSON.parse(out) as readonly { readonly service: string; readonly instances: number }[];
  expect(lines.map(({ instances }) => instances)).toEqual(Array.from({ length: 10 }, () => 5));
});
