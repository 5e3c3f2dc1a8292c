/** The recipes of `docs/recipes.md`, run as a reader runs them. Those with HTTP or a database have files of their own. */

import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Broker, Service, silentLogger } from "../src/index.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { readRecipes } from "./support/recipe-page.ts";
import { makeRecipeProject, RecipeFolder } from "./support/recipes.ts";

const root = join(import.meta.dirname, "..");
// They start processes, which takes long on a machine that is busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const project = realpathSync(mkdtempSync(join(tmpdir(), "confluo-recipes-")));

beforeAll(() => makeRecipeProject(project), 600_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe("docs/recipes.md", () => {
  const titles = readRecipes().map(({ title }) => title);

  it("has a test for every recipe, which names it", () => {
    const tests = readdirSync(import.meta.dirname)
      .filter((file) => /^recipes.*\.test\.ts$/.test(file))
      .map((file) => readFileSync(join(import.meta.dirname, file), "utf8"))
      .join("\n");
    expect(titles.length).toBeGreaterThan(0);
    expect(titles.filter((title) => !tests.includes(`"${title}"`))).toEqual([]);
  });

  it("lists every recipe in its table of contents, in their order", () => {
    const page = readFileSync(join(root, "docs", "recipes.md"), "utf8");
    const [before = ""] = page.split(/^## /m);
    const listed = [...before.matchAll(/^- \[(.+)\]\(#[^)]*\)$/gm)].map(([, title]) => title);
    expect(listed).toEqual(titles);
  });
});

describe("confluo as a transport of NestJS", () => {
  const broker = freshBroker();
  let recipe: RecipeFolder;

  beforeAll(async () => {
    recipe = openRecipe("confluo as a transport of NestJS", broker);
    const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
    expect(await recipe.run([compiler, "--pretty", "false"])).toBe("");
  }, 60_000);

  afterAll(async () => {
    await recipe?.remove();
    await deleteNamespace(broker.namespace, ["orders", "stock"]);
  });

  it("answers calls, refuses by the status of Nest's exception and tries an event again", async () => {
    const [answered = "", refused = "", paid = ""] = recipe.recipe.outputs[0]?.trim().split("\n") ?? [];
    const orders = recipe.start(["dist/main.js"]);
    await orders.says(/orders is up/);
    expect(await recipe.run(["dist/try.js"])).toBe(`${answered}\n${refused}\n`);
    await orders.says(/paid: /);
    expect(orders.output).toBe(`orders is up\n${paid}\n`);
    await orders.terminate();
  });

  it("answers the call that runs when it is told to stop, before what handlers use is closed", async () => {
    const orders = recipe.start(["dist/main.js"]);
    await orders.says(/orders is up/);
    const stock = new Service("stock", { broker, logger: silentLogger });
    const shop = new Service("shop", { broker, logger: silentLogger });
    try {
      const asked = new Promise<() => void>((resolve) => {
        stock.route("/items/:name", () => new Promise((answer) => resolve(() => answer(3))));
      });
      await Promise.all([stock.connect(), shop.connect()]);
      const call = shop.call("orders", "/orders/7").then(({ body }) => ({ body, printed: orders.output }));
      const answer = await asked;
      orders.signal("SIGTERM");
      answer();
      expect(await call).toEqual({ body: { id: "7", left: 3 }, printed: "orders is up\n" });
      await orders.exit;
      expect(orders.output).toBe("orders is up\norders is down\n");
    } finally {
      await Promise.all([stock.shutdown(), shop.shutdown()]);
    }
  });

  it("publishes what a client emits, and cancels a call that nobody waits for any more", async () => {
    writeFileSync(join(recipe.path, "client.mjs"), client);
    const stock = new Service("stock", { broker, logger: silentLogger });
    stock.route("/never", () => new Promise(() => undefined));
    const heard = new Promise((resolve) => stock.subscribe("/asked", ({ body }) => resolve(body)));
    await stock.connect();
    try {
      expect(await recipe.run(["client.mjs"])).toBe("1 waits, then 0\n");
      expect(await heard).toEqual({ n: 1 });
    } finally {
      await stock.shutdown({ timeoutMs: 1 });
    }
  });

  const client = `
    import { setImmediate as turn } from "node:timers/promises";
    import { Service } from "confluo";
    import { lastValueFrom } from "rxjs";
    import { ConfluoClient } from "./dist/confluo-nest.js";

    const service = new Service("shop");
    const client = new ConfluoClient({ service, target: "stock" });
    await lastValueFrom(client.emit("/asked", { n: 1 }), { defaultValue: undefined });
    const subscription = client.send("/never", {}).subscribe();
    while (service.stats().calling === 0) await turn();
    const before = service.stats().calling;
    subscription.unsubscribe();
    await turn();
    console.log(before + " waits, then " + service.stats().calling);
    await client.close();`;
});

describe("CommonJS, Jest and bundlers", () => {
  let recipe: RecipeFolder;

  beforeAll(() => {
    recipe = new RecipeFolder(project, "CommonJS, Jest and bundlers", {});
    // As the manifest of a user's project is; Jest takes the folder that has one for its root.
    writeFileSync(join(recipe.path, "package.json"), '{ "private": true, "type": "module" }');
  });

  afterAll(() => recipe?.remove());

  it("calls a service in CommonJS without a warning of Node's", async () => {
    const program = recipe.start(["hello.cjs"]);
    expect(await program.exit).toBe(0);
    expect(program.output).toBe(recipe.recipe.outputs[0]);
    expect(program.errors).toMatch(/^confluo: No broker address given: .*\n$/);
  });

  it("passes its tests in Jest", async () => {
    const jest = join(project, "node_modules", "jest", "bin", "jest.js");
    const cache = join(recipe.path, "cache");
    const program = recipe.start([jest, "--no-watchman", "--cacheDirectory", cache], {
      NODE_OPTIONS: "--experimental-vm-modules",
    });
    expect({ code: await program.exit, errors: program.errors }).toMatchObject({
      code: 0,
      errors: expect.stringContaining("2 passed, 2 total"),
    });
  });
});

describe("Many at once: scatter and gather", () => {
  const broker = freshBroker();
  let recipe: RecipeFolder;

  beforeAll(() => {
    recipe = openRecipe("Many at once: scatter and gather", broker);
  });

  afterAll(async () => {
    await recipe?.remove();
    await deleteNamespace(broker.namespace, ["shop", "snail", "horse", "train", "cache"]);
  });

  it("has the answers of those that are in time, the reasons of the others, and the first by itself", async () => {
    expect(await recipe.run(["offers.js"])).toBe(recipe.recipe.outputs[0]);
  });

  it("hears every instance of a service", async () => {
    const caches = [recipe.start(["cache.js"]), recipe.start(["cache.js"])];
    await Promise.all(caches.map((cache) => cache.says(/cache runs on/)));
    expect(await recipe.run(["ask-all.js"])).toBe(recipe.recipe.outputs[1]);
    expect(await Promise.all(caches.map((cache) => cache.terminate()))).toEqual([0, 0]);
  });
});

function openRecipe(title: string, { namespace }: Broker): RecipeFolder {
  return new RecipeFolder(project, title, { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: namespace });
}
