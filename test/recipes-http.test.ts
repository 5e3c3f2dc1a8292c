/** The gateways of `docs/recipes.md` by hand, as their clients see them. */

import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually } from "../src/testing/index.ts";
import type { Program } from "./support/program.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { makeRecipeProject, RecipeFolder } from "./support/recipes.ts";

// They start processes, which takes long on a machine that is busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const project = realpathSync(mkdtempSync(join(tmpdir(), "confluo-recipes-")));
const { namespace } = freshBroker();
const json = { "content-type": "application/json" };
const frameworks = ["express", "fastify", "hono"] as const;
type Framework = (typeof frameworks)[number];

interface Gateway {
  readonly program: Program;
  readonly url: string;
  /** What it answers before anybody has started the service behind it. */
  readonly before: Answer;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

let recipe: RecipeFolder;
const gateways = new Map<Framework, Gateway>();

beforeAll(async () => {
  await makeRecipeProject(project);
  const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: namespace, PORT: "0" };
  recipe = new RecipeFolder(project, "HTTP in front, with Express, Fastify or Hono", env);
  await Promise.all(
    frameworks.map(async (framework) => {
      const program = recipe.start([`with-${framework}.js`]);
      const url = `http://127.0.0.1:${await program.says(/listening on port (\d+)/)}`;
      gateways.set(framework, { program, url, before: await answerOf(url, "/orders/7") });
    }),
  );
  const orders = recipe.start(["orders.js"]);
  await orders.says(/orders runs on/);
}, 600_000);

afterAll(async () => {
  await recipe?.remove();
  await deleteNamespace(namespace, ["orders"]);
  rmSync(project, { recursive: true, force: true });
}, 60_000);

async function answerOf(url: string, path: string, options: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url + path, options);
  return { status: response.status, text: await response.text() };
}

describe.concurrent.each(frameworks)("a gateway with %s", (framework) => {
  const gateway = (): Gateway => {
    const found = gateways.get(framework);
    if (found === undefined) throw new Error(`${framework} is not up`);
    return found;
  };
  const ask = (path: string, options?: RequestInit): Promise<Answer> =>
    answerOf(gateway().url, path, options);
  const order = (body: string, headers: Readonly<Record<string, string>> = json): Promise<Answer> =>
    ask("/orders", { method: "POST", headers, body });

  it("answers 503 while the service has never run", () => {
    expect(gateway().before).toEqual({ status: 503, text: '{"code":"NO_SUCH_SERVICE"}' });
  });

  it("answers every request of the document as the document says", async () => {
    const commands = /^\$ curl -s '?localhost:8080([^\s']+)'?(.*)\n(.+)$/gm;
    const shown = [...(recipe.recipe.outputs[0] ?? "").matchAll(commands)];
    expect(shown).toHaveLength(6);
    const expected = shown.map(([, , , text]) => text);
    const answers = shown.map(async ([, path = "", options = ""]) => {
      const body = /-d '(.*)'/.exec(options)?.[1];
      return (await (body === undefined ? ask(path) : order(body))).text;
    });
    expect(await Promise.all(answers)).toEqual(expected);
  });

  it("has the statuses of refusals, and none of the words of a handler that failed", async () => {
    expect((await ask("/orders/0")).status).toBe(404);
    expect(await ask("/orders/13")).toEqual({ status: 500, text: '{"code":"HANDLER_FAILED"}' });
    expect((await ask("/orders/7%2Freport")).status).toBe(400);
    expect((await order('{"item":"apple","count":0}')).status).toBe(400);
  });

  it("hands on what a service answers: its status and the header that was picked", async () => {
    const body = '{"item":"apple","count":2}';
    const response = await fetch(`${gateway().url}/orders`, { method: "POST", headers: json, body });
    expect(response.status).toBe(201);
    expect(response.headers.get("location")).toBe("/orders/8");
    expect(await response.text()).toBe(body);
  });

  it("refuses a body that is broken, too large or not said to be JSON", async () => {
    expect((await order('{"item"')).status).toBe(400);
    expect((await order(JSON.stringify({ item: "a".repeat(200_000), count: 1 }))).status).toBe(413);
    const form = { "content-type": "text/plain" };
    expect([400, 415]).toContain((await order('{"item":"apple","count":2}', form)).status);
  });

  it("answers 504 at the deadline of its call", async () => {
    expect(await ask("/orders/7/report?ms=60000")).toEqual({ status: 504, text: '{"code":"TIMEOUT"}' });
  });

  it("gives up a call whose client goes away", async () => {
    const path = `/orders/${framework}-gone/report`;
    const isGivenUp = async (): Promise<boolean> => {
      const client = new AbortController();
      const answer = ask(`${path}?ms=60000`, { signal: client.signal }).catch(() => undefined);
      // By the time a later request is answered, the first one is under way, as a rule.
      await ask("/orders/7");
      client.abort();
      await answer;
      return gateway().program.errors.includes(`to answer ${path}`);
    };
    await eventually(isGivenUp, "the call to be given up");
    expect(gateway().program.errors).toContain(
      `CANCELLED The caller stopped waiting for orders to answer ${path}.`,
    );
  });
});

// After the others, since it ends the gateways.
describe("a gateway that is told to stop", () => {
  it.concurrent.each(frameworks)("answers the request that runs, and ends, with %s", async (framework) => {
    const { program, url } = gateways.get(framework) as Gateway;
    const running = answerOf(url, "/orders/7/report?ms=1000");
    // By the time two later requests are answered, the first one is under way.
    for (let n = 0; n < 2; n += 1) await answerOf(url, "/orders/7");
    program.signal("SIGTERM");
    await eventually(() => isRefused(url), "new connections to be refused");
    expect(await running).toEqual({ status: 200, text: '{"id":"7","lines":1000}' });
    const answeredAt = performance.now();
    expect(await program.exit).toBe(0);
    // It waits for no client that keeps its connection.
    expect(performance.now() - answeredAt).toBeLessThan(4_000);
  });
});

function isRefused(url: string): Promise<boolean> {
  const request = fetch(`${url}/orders/7`, { headers: { connection: "close" } });
  return request.then(
    ({ status }) => status === 503,
    () => true,
  );
}
