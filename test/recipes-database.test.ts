/** The recipes of `docs/recipes.md` that use a database, on a real PostgreSQL. */

import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Broker, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { type Connection, type Database, makeDatabase, type Row } from "./support/recipe-database.ts";
import { makeRecipeProject, RecipeFolder } from "./support/recipes.ts";

// They start processes, which takes long on a machine that is busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const project = realpathSync(mkdtempSync(join(tmpdir(), "confluo-recipes-")));
let database: Database;
let connection: Connection;

beforeAll(async () => {
  await makeRecipeProject(project);
  database = await makeDatabase();
  connection = await database.connect();
}, 900_000);

afterAll(async () => {
  await connection?.end();
  await database?.remove();
  rmSync(project, { recursive: true, force: true });
}, 60_000);

async function openRecipe(title: string, { namespace }: Broker): Promise<RecipeFolder> {
  const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: namespace, DATABASE_URL: database.url };
  const recipe = new RecipeFolder(project, title, env);
  await connection.query(recipe.recipe.files.get("schema.sql") ?? "");
  return recipe;
}

async function rowsOf(sql: string): Promise<readonly Row[]> {
  return (await connection.query(sql)).rows;
}

describe("An effect once for each message, with PostgreSQL", () => {
  const broker = freshBroker();
  const shop = new Service("shop", { broker, logger: silentLogger });
  let recipe: RecipeFolder;

  beforeAll(async () => {
    recipe = await openRecipe("An effect once for each message, with PostgreSQL", broker);
    await shop.connect();
  });

  afterAll(async () => {
    await shop.shutdown();
    await recipe?.remove();
    await deleteNamespace(broker.namespace, ["accounts", "shop"]);
  });

  const balance = async (): Promise<unknown> => (await rowsOf("SELECT balance FROM accounts"))[0]?.balance;
  const pay = (id: string, amount: number): Promise<void> =>
    shop.publish(`/payments/${id}/received`, { account: "ada", amount }, { messageId: `payment-${id}` });

  it("books a payment once that its sender sends three times, and ends when told", async () => {
    const accounts = recipe.start(["accounts.js"]);
    await accounts.says(/accounts runs on/);
    await recipe.run(["pay.js"]);
    const expected = recipe.recipe.outputs[0]?.trim().split("\n");
    await eventually(() => accounts.output.trim().split("\n").length === 3, "all three to be handled");
    // Two runs at the same time may end in either order.
    expect(accounts.output.trim().split("\n").toSorted()).toEqual(expected?.toSorted());
    expect(await balance()).toBe(12);
    expect(await accounts.terminate()).toBe(0);
  });

  it("forgets a message whose effect failed, so that it is booked when it is tried again", async () => {
    const accounts = recipe.start(["accounts.js"]);
    await accounts.says(/accounts runs on/);
    await pay("8", -100);
    await accounts.says(/did not handle .*try 1 of 10.*violates check constraint/);
    expect(await rowsOf("SELECT 1 FROM handled WHERE message_id = 'payment-8'")).toEqual([]);
    await pay("9", 100);
    await accounts.says(/booked 8/);
    expect(await balance()).toBe(12);
    expect(await accounts.terminate()).toBe(0);
  });

  it("books once what an instance had begun that was killed", async () => {
    const first = recipe.start(["accounts.js"]);
    await first.says(/accounts runs on/);
    const other = await database.connect();
    await other.query("BEGIN; SELECT * FROM accounts FOR UPDATE");
    try {
      await pay("10", 5);
      const waits =
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'UPDATE accounts%' AND wait_event_type = 'Lock'";
      await eventually(async () => (await rowsOf(waits)).length === 1, "the first instance to book");
      await first.kill();
      const second = recipe.start(["accounts.js"]);
      await second.says(/accounts runs on/);
      await other.query("COMMIT");
      await second.says(/booked 10/);
      expect(await balance()).toBe(17);
      expect(await second.terminate()).toBe(0);
    } finally {
      await other.end();
    }
  });
});

describe("One at a time for each key", () => {
  const broker = freshBroker();
  let recipe: RecipeFolder;

  beforeAll(async () => {
    recipe = await openRecipe("One at a time for each key", broker);
  });

  afterAll(async () => {
    await recipe?.remove();
    const shards = [0, 1, 2, 3].map((n) => `ledger-${n}`);
    await deleteNamespace(broker.namespace, ["ledger", "shop", ...shards]);
  });

  it("numbers the entries of an account without gaps, in two instances, without a second try", async () => {
    const ledgers = [recipe.start(["ledger.js"]), recipe.start(["ledger.js"])];
    await Promise.all(ledgers.map((ledger) => ledger.says(/ledger runs on/)));
    await recipe.run(["book.js"]);
    const count = async (): Promise<unknown> =>
      (await rowsOf("SELECT count(*)::integer FROM entries"))[0]?.count;
    await eventually(async () => (await count()) === 20, "all entries");
    const accounts =
      "SELECT account, count(*)::integer, max(number) FROM entries GROUP BY account ORDER BY account";
    const shown = [...(recipe.recipe.outputs[0] ?? "").matchAll(/^ (\w+) +\| +(\d+) \| +(\d+)$/gm)];
    expect(shown).toHaveLength(2);
    const expected = shown.map(([, account, entries, max]) => ({
      account,
      count: Number(entries),
      max: Number(max),
    }));
    expect(await rowsOf(accounts)).toEqual(expected);
    for (const ledger of ledgers) expect(ledger.errors).not.toContain("did not handle");
    expect(await Promise.all(ledgers.map((ledger) => ledger.terminate()))).toEqual([0, 0]);
  });

  it("gives up a lock that it does not get in time", async () => {
    const [lockTimeout] =
      /SET LOCAL lock_timeout = '\d+s'/.exec(recipe.recipe.files.get("lock.js") ?? "") ?? [];
    const other = await database.connect();
    await connection.query("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('account ada', 0))");
    try {
      await other.query("BEGIN");
      await other.query(lockTimeout?.replace(/\d+s/, "50ms") ?? "");
      const second = other.query("SELECT pg_advisory_xact_lock(hashtextextended('account ada', 0))");
      await expect(second).rejects.toMatchObject({ code: "55P03" });
    } finally {
      await connection.query("COMMIT");
      await other.end();
    }
  });

  it("handles the commands of a key in one shard, in their order", async () => {
    const ledger = recipe.start(["sharded-ledger.js"]);
    for (const n of [0, 1, 2, 3]) await ledger.says(new RegExp(`ledger-${n} runs on`));
    await recipe.run(["book-sharded.js"]);
    const expected = recipe.recipe.outputs[1]?.trim().split("\n") ?? [];
    await eventually(() => ledger.output.trim().split("\n").length === expected.length, "all to be booked");
    const printed = ledger.output.trim().split("\n");
    for (const account of ["ada", "bob"]) {
      const isAccount = (line: string): boolean => line.endsWith(account);
      expect(printed.filter(isAccount)).toEqual(expected.filter(isAccount));
    }
    expect(await ledger.terminate()).toBe(0);
  });
});
