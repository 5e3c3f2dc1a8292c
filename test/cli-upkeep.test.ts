/** An operator's hands, in a terminal: letters that are kept as files, services and bindings that are removed. */

import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type Broker, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { type Finished, runCommand, startCommand } from "./support/command-line.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

interface Shop {
  readonly broker: Broker;
  readonly env: Record<string, string>;
}

/** Instances of services that are there. */
async function shop(): Promise<Shop> {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, ["orders", "stock", "mail"]));
  for (const name of ["orders", "stock", "mail"]) {
    const service = new Service(name, { logger: silentLogger }).subscribe("/orders/placed", () => undefined);
    await service.connect(broker);
    cleanUp.push(() => service.shutdown());
  }
  return { broker, env: { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace } };
}

describe("letters in files", { timeout: 90_000 }, () => {
  const service = async (): Promise<{ readonly broker: Broker; readonly env: Record<string, string> }> => {
    const broker = freshBroker({ logger: silentLogger });
    cleanUp.push(() => deleteNamespace(broker.namespace, ["mail"]));
    await (
      await new Service("mail", { logger: silentLogger }).route("/sent", () => undefined).connect(broker)
    ).shutdown();
    return { broker, env: { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace } };
  };

  const record = (n: number): string =>
    JSON.stringify({
      letter: 1,
      id: `m-${n}`,
      key: "k",
      properties: { type: "/sent", messageId: `m-${n}`, priority: 3, timestamp: 1_700_000_000 },
      headers: {
        big: { int64: "9007199254740993" },
        f: { float: 1.5 },
        t: { timestamp: 5 },
        u: { uint8: 7 },
      },
      body: n % 2 === 0 ? { text: `{"n":${n}}` } : { base64: "/wA=" },
    });

  it("go there and back, and what lies there already is left out", async () => {
    const { broker, env } = await service();
    const folder = mkdtempSync(join(tmpdir(), "confluo-letters-"));
    cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, "letters.jsonl");
    const input = `${record(0)}\n\n${record(1)}\n`;
    expect(await runCommand(["dead", "import", "mail"], { env, input })).toEqual({
      code: 0,
      out: "2 imported, 0 skipped because the queue already contains them.\n",
      err: "",
    });
    const exported = await runCommand(["dead", "export", "mail", "--all", "-o", file], { env });
    expect(exported).toEqual({ code: 0, out: "", err: `2 exported to ${file}.\n` });
    const lines = readFileSync(file, "utf8").trim().split("\n");
    const bare = (line: string): object => ({ ...(JSON.parse(line) as object), key: "" });
    expect(lines.map(bare)).toEqual([record(0), record(1)].map(bare));
    const again = await runCommand(["dead", "export", "mail", "--all", "-o", file], { env });
    expect([again.code, again.err]).toEqual([2, expect.stringContaining("it exists already")]);
    expect((await runCommand(["dead", "import", "mail", file, "--json"], { env })).out).toBe(
      '{"imported":0,"present":2}\n',
    );
    expect((await runCommand(["dead", "drop", "mail", "m-0", "--yes"], { env })).code).toBe(0);
    expect((await runCommand(["dead", "import", "mail", file, "--json"], { env })).out).toBe(
      '{"imported":1,"present":1}\n',
    );
    expect((await runCommand(["dead", "import", "mail", file, "--again"], { env })).out).toContain(
      "2 imported",
    );
    expect(await broker.deadLetters("mail").count()).toBe(4);
    const [one] = (await runCommand(["dead", "export", "mail", "m-1"], { env })).out.split("\n");
    expect(bare(one ?? "")).toEqual(bare(record(1)));
    for (const [args, given, said] of [
      [["dead", "import", "mail"], `${record(0)}\n{`, "Line 2 is not JSON"],
      [["dead", "import", "mail"], `${record(0)}\n{"letter":2}`, "Letter 2"],
      [["dead", "import", "mail", join(folder, "nowhere")], "", "cannot be read"],
      [["dead", "import", "nobody"], record(0), "There is no service nobody"],
      [["dead", "export", "mail"], "", "Which letters?"],
      [["dead", "export", "mail", "none"], "", "No letter of mail matches"],
    ] as const) {
      const failed = await runCommand(args, { env, input: given });
      expect([failed.code === 0, failed.out, failed.err]).toEqual([false, "", expect.stringContaining(said)]);
    }
    expect(await broker.deadLetters("mail").count()).toBe(4);
  });

  it("are all there after an import that was interrupted and repeated, once each", async () => {
    const { broker, env } = await service();
    const letters = 6_000;
    const input = Array.from({ length: letters }, (_, n) => `${record(n)}\n`).join("");
    const child = startCommand(["dead", "import", "mail"], env);
    cleanUp.push(() => child.kill("SIGKILL"));
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.stdin?.end(input);
    const ended = once(child, "close");
    await eventually(async () => (await broker.deadLetters("mail").count()) > 0, "a first letter");
    child.kill("SIGINT");
    expect((await ended)[0]).toBe(130);
    const [, imported] = /^At least (\d+) of 6000 were imported before the error/.exec(said) ?? [];
    const there = await broker.deadLetters("mail").count();
    expect(there).toBeGreaterThanOrEqual(Number(imported));
    expect(there).toBeLessThan(letters);
    const repeated = await runCommand(["dead", "import", "mail", "--json"], { env, input });
    expect(JSON.parse(repeated.out)).toEqual({ imported: letters - there, present: there });
    expect(await broker.deadLetters("mail").count()).toBe(letters);
  });
});

describe("what nobody needs any more", { timeout: 60_000 }, () => {
  it("is removed when it is empty and nobody consumes it, or by force, and told", async () => {
    const { broker, env } = await shop();
    const confluo = (line: string): Promise<Finished> => runCommand(line.split(" "), { env });
    const used = await confluo("rm stock --yes");
    expect([used.code, used.out]).toEqual([1, ""]);
    expect(used.err).toMatch(/stock is not removed: .*stock\.inbox has 1 consumer.*--force/);
    const asked = await confluo("rm stock --force");
    expect([asked.code, asked.err]).toEqual([2, expect.stringContaining("use --yes")]);
    const nobody = await confluo("rm nobody --yes --json");
    expect([nobody.code, JSON.parse(nobody.err)]).toMatchObject([1, { error: { code: "NO_SUCH_SERVICE" } }]);
    const old = new Service("old", { logger: silentLogger, retry: { attempts: 1 } });
    old.route("/", () => {
      throw new Error("too old");
    });
    await old.connect(broker);
    await old.send("old", "/");
    await eventually(async () => (await broker.deadLetters("old").count()) === 1, "its letter");
    await old.shutdown();
    cleanUp.push(() => deleteNamespace(broker.namespace, ["old"]));
    expect((await confluo("rm old --yes")).err).toContain("old.dead holds 1 message");
    await broker.deadLetters("old").discard("all");
    const removed = await confluo("rm old --yes");
    expect(removed.code).toBe(0);
    const names = ["calls", "calls.batch", "calls.again", "inbox", "inbox.again", "dead"];
    expect(removed.out).toBe(names.map((name) => `removed ${broker.namespace}.old.${name}\n`).join(""));
    expect(await broker.queue(`${broker.namespace}.old.inbox`)).toBeUndefined();
  });

  it("is unbound unless an instance subscribes to it", async () => {
    const { broker, env } = await shop();
    const confluo = (line: string): Promise<Finished> => runCommand(line.split(" "), { env });
    const client = await broker.openClient();
    cleanUp.push(() => client.close());
    await client.bind(`${broker.namespace}.orders.inbox`, `${broker.namespace}.events`, "old.event");
    const subscribed = await confluo("unbind mail /orders/placed");
    expect(subscribed.code).toBe(1);
    expect(subscribed.err).toContain("1 instance of mail still subscribe");
    expect((await confluo("unbind nobody /x")).err).toContain("There is no service nobody");
    expect(await confluo("unbind orders /old/event")).toEqual({
      code: 0,
      out: "orders no longer gets the events of /old/event.\n",
      err: "",
    });
  });
});
