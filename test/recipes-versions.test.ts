/** The recipe of `docs/recipes.md` for versions of contracts: its programs, and its table against every pairing. */

import { describe, expect, it } from "vitest";
import { z } from "zod";
import { command, event } from "../src/contract/index.ts";
import { Broker, isConfluoError, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import type { Program } from "./support/program.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { readRecipe } from "./support/recipe-page.ts";
import {
  atTheEnd,
  confluo,
  type Env,
  finished,
  folderOf,
  freshNamespace,
  type RecipeFolder,
  start,
} from "./support/recipe-programs.ts";

describe("the recipe for versions", { timeout: 120_000 }, () => {
  const recipe = readRecipe("Versions of a contract");
  const [adding = "", , unbinding = "", together = ""] = recipe.commands;
  const [added, checked, both] = recipe.outputs;

  function prepared(): { readonly folder: RecipeFolder; readonly env: Env; readonly broker: Broker } {
    const namespace = freshNamespace("pricing", "mail");
    const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: namespace };
    const broker = new Broker(testBrokerUrl(), { namespace, logger: silentLogger });
    return { folder: folderOf(recipe, ["zod"]), env, broker };
  }

  it("has two releases that understand each other, each as a process", async () => {
    const { folder, env } = prepared();
    let out = "";
    let pricing: Program | undefined;
    for (const [, program = "", release = ""] of adding.matchAll(/node (\w+\.js) (\d)/g)) {
      if (program === "pricing.js") {
        await pricing?.terminate();
        pricing = start(folder, ["node", program, release], env);
        await pricing.says("pricing runs on");
      } else out += await finished(folder, ["node", program, release], env);
    }
    expect(out).toBe(added);
    expect(await pricing?.terminate()).toBe(0);
  });

  it("has a check of two releases that meet on the embedded broker", async () => {
    expect(await finished(folderOf(recipe, ["zod"]), ["node", "check.js"], {})).toBe(checked);
  });

  it("has a handler that serves a path and its new name", async () => {
    const { folder, env, broker } = prepared();
    const pricing = start(folder, ["node", "renamed.js"], env);
    await pricing.says("pricing runs on");
    const shop = await new Service("shop", { broker, logger: silentLogger }).connect();
    atTheEnd(() => shop.shutdown());
    for (const path of ["/quote", "/prices/current"])
      expect((await shop.call("pricing", path, { sku: "tea" })).body).toEqual({ cents: 1000 });
    const shown = await finished(folder, [confluo, "show", "pricing"], env);
    expect(shown).toMatch(/^\/quote +route +\S+ +1 /m);
    expect(shown).toMatch(/^\/prices\/current +route +\S+ +1 /m);
    expect(await pricing.terminate()).toBe(0);
  });

  it("has subscribers that listen to an old and a new path, and a command that ends the old one", async () => {
    const { folder, env, broker } = prepared();
    const old = start(folder, ["node", "mail.js", "both"], env);
    await old.says("mail runs on");
    const shop = await new Service("shop", { broker, logger: silentLogger }).connect();
    atTheEnd(() => shop.shutdown());
    await shop.publish("/order/1/paid");
    await shop.publish("/orders/2/paid");
    await old.says("paid: 1");
    await old.says("paid: 2");
    expect(await old.terminate()).toBe(0);
    const [, ...args] = /^npx (confluo) (unbind) (\w+) '(.*)'$/m.exec(unbinding) ?? [];
    await finished(folder, [confluo, ...args.slice(1)], env);
    await shop.publish("/order/3/paid");
    await shop.publish("/orders/4/paid");
    expect((await broker.queue(`${broker.namespace}.mail.inbox`))?.messages).toBe(1);
    const next = start(folder, ["node", "mail.js"], env);
    await next.says("paid: 4");
    expect(next.output).not.toContain("paid: 3");
    expect(await next.terminate()).toBe(0);
  });

  it("has a service that serves two versions", async () => {
    const { folder, env } = prepared();
    const pricing = start(folder, ["node", "two-versions.js"], env);
    await pricing.says("pricing runs on");
    let out = "";
    for (const [, path = "", body = ""] of together.matchAll(/call pricing (\S+) '(.*)'/g))
      out += await finished(folder, [confluo, "call", "pricing", path, body], env);
    expect(out).toBe(both);
    const shown = await finished(folder, [confluo, "show", "pricing", "--contracts"], env);
    expect(shown).toContain("/v2/quote");
    expect(await pricing.terminate()).toBe(0);
  });

  describe("who goes first", () => {
    const sku = { sku: z.string() };
    const cents = { cents: z.number() };
    const x = z.number();
    const plain: Side = {
      input: z.object(sku),
      output: z.object(cents),
      sent: { sku: "tea" },
      made: { cents: 1 },
    };
    const more = { sent: { sku: "tea", x: 1 }, made: { cents: 1, x: 1 } };
    const changes: Readonly<Record<string, readonly [old: Side, next: Side]>> = {
      "optional field added to the input": [
        plain,
        { ...plain, ...more, input: z.object({ ...sku, x: x.optional() }) },
      ],
      "required field added to the input": [plain, { ...plain, ...more, input: z.object({ ...sku, x }) }],
      "required field removed from the input": [{ ...plain, ...more, input: z.object({ ...sku, x }) }, plain],
      "optional field added to the answer": [
        plain,
        { ...plain, ...more, output: z.object({ ...cents, x: x.optional() }) },
      ],
      "required field added to the answer": [plain, { ...plain, ...more, output: z.object({ ...cents, x }) }],
      "required field removed from the answer": [
        { ...plain, ...more, output: z.object({ ...cents, x }) },
        plain,
      ],
      "optional field added to a strict input": [
        { ...plain, input: z.strictObject(sku) },
        { ...plain, ...more, input: z.strictObject({ ...sku, x: x.optional() }) },
      ],
      "optional field added to a strict answer": [
        { ...plain, output: z.strictObject(cents) },
        { ...plain, ...more, output: z.strictObject({ ...cents, x: x.optional() }) },
      ],
      "path renamed": [plain, { ...plain, path: "/prices" }],
    };
    const rows = [
      ...recipe.text.matchAll(/^\| ((?:optional|required|path)[^|]*) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$/gm),
    ].map(([, ...cells]) => cells.map((cell = "") => cell.replaceAll("`", "")));

    it("lists each change that is tried", () => {
      expect(rows.map(([change]) => change)).toEqual(Object.keys(changes));
    });

    it.each(rows)("%s: %s, and %s", async (change = "", oldCaller, newCaller, first) => {
      const [old, next] = changes[change] ?? [];
      if (old === undefined || next === undefined) throw new Error(`${change} is not tried`);
      const broker = freshBroker({ logger: silentLogger });
      atTheEnd(() => deleteNamespace(broker.namespace, ["pricing"]));
      const found = [await meet(broker, old, next), await meet(broker, next, old)] as const;
      expect(found).toEqual([oldCaller, newCaller]);
      // Those who are deployed first meet those of the old release: that must not fail, nor lose anything.
      if (first === "handlers") expect(oldCaller).toMatch(/^works/);
      if (first === "callers") expect(newCaller).toMatch(/^works/);
    });
  });

  it("makes a dead letter of an event that a subscriber refuses, at the first try", async () => {
    const { broker } = prepared();
    const mail = new Service("mail", { broker, logger: silentLogger });
    mail.subscribe(event("/paid", { body: z.strictObject({ id: z.string() }) }), () => undefined);
    await mail.connect();
    atTheEnd(() => mail.shutdown());
    await mail.publish("/paid", { id: "7", more: 1 });
    const letters = broker.deadLetters("mail");
    await eventually(async () => (await letters.count()) === 1, "a letter");
    expect(await letters.list()).toMatchObject([{ error: { code: "INVALID_INPUT" }, attempts: 1 }]);
  });
});

/** One release of a command's contract, what its callers send, and what its handlers answer. */
interface Side {
  readonly input: z.ZodType<object>;
  readonly output: z.ZodType<object>;
  readonly sent: object;
  readonly made: object;
  readonly path?: string;
}

/** Resolves with what a caller of one release and a handler of another make of each other, in the table's words. */
async function meet(broker: Broker, calling: Side, handling: Side): Promise<string> {
  const contractOf = ({ path = "/quote", input, output }: Side) =>
    command("pricing", path, { input, output });
  const handler = new Service("pricing", { broker, logger: silentLogger });
  let received: object = {};
  handler.route(contractOf(handling), ({ body }) => {
    received = body;
    return handling.made;
  });
  const caller = new Service("caller", { broker, logger: silentLogger });
  await Promise.all([handler.connect(), caller.connect()]);
  try {
    await caller.call(contractOf(calling), calling.sent);
  } catch (error) {
    return isConfluoError(error) ? error.code : String(error);
  } finally {
    await Promise.all([handler.shutdown(), caller.shutdown()]);
  }
  // Only of a field that both the caller's contract has and the handler could have heard of.
  const declared = "x" in calling.input.parse(calling.sent);
  return declared && !("x" in received) ? "works, the field is dropped" : "works";
}
