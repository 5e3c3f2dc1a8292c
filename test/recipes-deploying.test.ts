/** The recipes of `docs/recipes.md` for Docker Compose and Kubernetes: their YAML against what their programs do. */

import { execFile, spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { Broker, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { inheritedEnv } from "./support/consumer.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { readRecipe } from "./support/recipe-page.ts";
import {
  answersWith,
  atTheEnd,
  confluo,
  type Env,
  finished,
  folderOf,
  freePort,
  freshNamespace,
  start,
  statusOf,
} from "./support/recipe-programs.ts";
import { TcpProxy } from "./support/tcp-proxy.ts";

const root = join(import.meta.dirname, "..");
const canUnshare = spawnSync("unshare", ["--pid", "--fork", "--mount-proc", "true"]).status === 0;

/** Names of the variables that the package reads. */
function readVariables(): ReadonlySet<string> {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  const sources = files.filter((file) => file.endsWith(".ts") && !/\.test(-d)?\.ts$/.test(file));
  const texts = sources.map((file) => readFileSync(join(root, "src", file), "utf8"));
  return new Set(texts.flatMap((text) => text.match(/\bCONFLUO_[A-Z]+\b/g) ?? []));
}

const isLauncher = (program: string): boolean => /^(?:.*\/)?(npm|npx|yarn|pnpm|sh|bash)$/.test(program);

/** The seconds of a duration such as `25s`. */
function secondsOf(duration: string): number {
  return Number(/^(\d+)s$/.exec(duration)?.[1]);
}

/** How long a command drains, in seconds: 7, unless it says otherwise. */
function drainOf(args: readonly string[]): number {
  const at = args.indexOf("--drain");
  return at < 0 ? 7 : secondsOf(args[at + 1] ?? "");
}

/** Beyond its drain, what a process may take to end. */
const ENDING_S = 3;

describe("the recipe for Docker Compose", { timeout: 120_000 }, () => {
  interface ComposeService {
    readonly command?: readonly string[];
    readonly environment: Env;
    readonly healthcheck?: { readonly test: readonly string[] };
    readonly stop_grace_period?: string;
    readonly depends_on?: unknown;
  }
  const recipe = readRecipe("Two services with Docker Compose");
  const { services } = parse(recipe.files.get("compose.yaml") ?? "") as {
    readonly services: Readonly<Record<"rabbitmq" | "orders" | "mail", ComposeService>>;
  };
  const { rabbitmq, orders, mail } = services;
  const dockerfile = recipe.files.get("Dockerfile") ?? "";
  const imageCommand = JSON.parse(/^CMD (.*)$/m.exec(dockerfile)?.[1] ?? "") as string[];

  it("gives both services an address, a user and variables that exist", () => {
    const known = readVariables();
    for (const { environment, depends_on } of [orders, mail]) {
      expect(Object.keys(environment).filter((name) => !known.has(name))).toEqual([]);
      const [, user, password, host] =
        /^amqp:\/\/(\w+):(.*)@(\w+)$/.exec(environment.CONFLUO_BROKER ?? "") ?? [];
      expect({ user, password }).toEqual({
        user: rabbitmq.environment.RABBITMQ_DEFAULT_USER,
        password: rabbitmq.environment.RABBITMQ_DEFAULT_PASS,
      });
      expect(Object.keys(services)).toContain(host);
      expect(depends_on).toBeUndefined();
    }
    expect(recipe.commands[0]).toContain(/\$\{(\w+):\?\}/.exec(orders.environment.CONFLUO_BROKER ?? "")?.[1]);
  });

  it("starts programs of its files without a launcher, and gives each longer than its drain", () => {
    for (const { command = imageCommand, stop_grace_period = "10s" } of [orders, mail]) {
      expect(isLauncher(command[0] ?? "")).toBe(false);
      expect(recipe.files.has(command.at(-1) ?? "")).toBe(true);
      expect(secondsOf(stop_grace_period)).toBeGreaterThanOrEqual(drainOf(command) + ENDING_S);
    }
    expect(dockerfile).not.toMatch(/^CMD (?!\[)/m);
  });

  it("has services that wait for the broker, get healthy, and finish what they have", async () => {
    const folder = folderOf(recipe);
    const proxy = new TcpProxy();
    const broker = await proxy.listen();
    atTheEnd(() => proxy.close());
    proxy.refusing = true;
    const env = { CONFLUO_BROKER: broker, CONFLUO_NAMESPACE: freshNamespace("orders", "mail") };
    const started = await Promise.all(
      [orders, mail].map(async ({ command = imageCommand, healthcheck }) => {
        const port = await freePort();
        const here = (text: string): string => text.replace("9464", String(port));
        const program = start(folder, command.map(here), { ...env, PORT: String(port) });
        const [, ...check] = (healthcheck?.test ?? []).map(here);
        const isHealthy = (): Promise<boolean> =>
          new Promise((resolve) => execFile("node", check.slice(1), (error) => resolve(error === null)));
        return { program, url: `http://127.0.0.1:${port}`, isHealthy };
      }),
    );
    const [first, second] = started;
    if (first === undefined || second === undefined) throw new Error("two were started");
    for (const { url, isHealthy } of started) {
      await answersWith(`${url}/healthz`, 200);
      expect(await statusOf(`${url}/readyz`)).toBe(503);
      expect(await isHealthy()).toBe(false);
    }
    proxy.refusing = false;
    for (const { url, isHealthy } of started) {
      await answersWith(`${url}/readyz`, 200);
      expect(await isHealthy()).toBe(true);
    }
    const [, path = "", body = ""] = /confluo call orders (\S+) '(.*)'/.exec(recipe.commands[0] ?? "") ?? [];
    const answer = await finished(folder, [confluo, "call", "orders", path, body], env);
    await second.program.says("writing to");
    expect(await second.program.terminate()).toBe(0); // while its handler runs
    expect(`${answer}${second.program.output}`).toBe(recipe.outputs[0]);
    expect(await first.program.terminate()).toBe(0);
  });

  // As the first process of a container is run: in a PID namespace of its own, whose end is the end of all in it.
  it.skipIf(!canUnshare).each([
    ["the program itself", "node node_modules/.bin/confluo run mail.js", { ends: true, finishes: true }],
    ["npm start", "npm start", { ends: true, finishes: false }],
    ["a shell", "sh -c 'node node_modules/.bin/confluo run mail.js; true'", { ends: false, finishes: true }],
  ])("says what becomes of SIGTERM if the first process is %s", async (_, line, { ends, finishes }) => {
    const folder = folderOf(recipe);
    const manifest = { type: "module", scripts: { start: "node node_modules/.bin/confluo run mail.js" } };
    writeFileSync(join(folder.path, "package.json"), JSON.stringify(manifest));
    const namespace = freshNamespace("mail");
    const program = spawn(
      "unshare",
      ["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", `exec ${line}`],
      {
        cwd: folder.path,
        env: { ...inheritedEnv(), CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: namespace },
      },
    );
    const exit = new Promise((resolve) => program.on("close", () => resolve("ended")));
    atTheEnd(async () => {
      program.kill("SIGKILL");
      await exit;
    });
    let out = "";
    for (const stream of [program.stdout, program.stderr])
      stream.on("data", (chunk: Buffer) => {
        out += chunk.toString();
      });
    await eventually(() => out.includes("running on"), "mail to run", { timeoutMs: 30_000 });
    const broker = new Broker(testBrokerUrl(), { namespace });
    const shop = await new Service("shop", { broker, logger: silentLogger }).connect();
    atTheEnd(() => shop.shutdown());
    await shop.publish("/orders/7/placed", { customer: "ada" });
    await eventually(() => out.includes("writing to ada"), "the handler to begin");
    const children = readFileSync(`/proc/${program.pid}/task/${program.pid}/children`, "utf8");
    process.kill(Number(children.trim()), "SIGTERM");
    if (ends) await exit;
    else await eventually(() => out.includes("sent"), "the handler to end");
    expect(out.includes("sent")).toBe(finishes);
    expect(program.exitCode === null && program.signalCode === null).toBe(!ends);
  });

  it("has a program that ends with 1 if there is no broker for 20 s", async () => {
    const folder = folderOf(recipe);
    const env = { CONFLUO_BROKER: "amqp://127.0.0.1:1", PORT: String(await freePort()) };
    const program = start(folder, imageCommand, env);
    const began = performance.now();
    expect(await program.exit).toBe(1);
    expect(performance.now() - began).toBeGreaterThan(19_000);
    expect(program.errors).toContain("BROKER_UNREACHABLE");
  });
});

describe("the recipe for Kubernetes", { timeout: 90_000 }, () => {
  interface Probe {
    readonly httpGet: { readonly path: string; readonly port: string | number };
  }
  interface Container {
    readonly command: readonly string[];
    readonly env: readonly {
      readonly name: string;
      readonly value?: string;
      readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
    }[];
    readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
    readonly readinessProbe: Probe;
    readonly livenessProbe: Probe;
  }
  const recipe = readRecipe("A service on Kubernetes");
  const manifests = (file: string): readonly unknown[] =>
    parseAllDocuments(recipe.files.get(file) ?? "").map((document) => document.toJS());
  const [secret] = manifests("rabbitmq-secret.yaml") as [
    { readonly metadata: { readonly name: string }; readonly stringData: Env },
  ];
  const [{ metadata, spec }] = manifests("orders.yaml") as [
    {
      readonly metadata: { readonly name: string };
      readonly spec: {
        readonly selector: { readonly matchLabels: Env };
        readonly template: {
          readonly metadata: { readonly labels: Env; readonly annotations: Env };
          readonly spec: {
            readonly terminationGracePeriodSeconds: number;
            readonly containers: readonly [Container];
          };
        };
      };
    },
  ];
  const [container] = spec.template.spec.containers;
  const [port] = container.ports;

  it("has a Deployment that fits itself, its Secret, and what confluo reads", () => {
    const known = readVariables();
    expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
    expect(spec.template.metadata.annotations["prometheus.io/port"]).toBe(String(port?.containerPort));
    expect(container.command).toContain(`:${port?.containerPort}`);
    for (const { httpGet } of [container.readinessProbe, container.livenessProbe])
      expect(httpGet.port).toBe(port?.name);
    for (const { name, valueFrom } of container.env) {
      expect(known.has(name)).toBe(true);
      if (valueFrom === undefined) continue;
      expect(valueFrom.secretKeyRef.name).toBe(secret.metadata.name);
      expect(Object.keys(secret.stringData)).toContain(valueFrom.secretKeyRef.key);
    }
    expect(() => new Broker(secret.stringData.url ?? "")).not.toThrow();
    expect(isLauncher(container.command[0] ?? "")).toBe(false);
    const grace = spec.template.spec.terminationGracePeriodSeconds;
    expect(grace).toBeGreaterThanOrEqual(drainOf(container.command) + ENDING_S);
  });

  it("has probes that answer, and an instance that finishes what it has when it is ended", async () => {
    const folder = folderOf(recipe);
    const namespace = freshNamespace("orders");
    const given = Object.fromEntries(container.env.map(({ name, value }) => [name, value ?? ""]));
    const env = { ...given, CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: namespace };
    expect(Object.keys(env)).toEqual(Object.keys(given));
    const own = await freePort();
    const command = container.command.map((text) => text.replace(`:${port?.containerPort}`, `:${own}`));
    const program = start(folder, command, env);
    await answersWith(`http://127.0.0.1:${own}${container.readinessProbe.httpGet.path}`, 200);
    expect(await statusOf(`http://127.0.0.1:${own}${container.livenessProbe.httpGet.path}`)).toBe(200);
    expect(await statusOf(`http://127.0.0.1:${own}/metrics`)).toBe(200);
    const broker = new Broker(testBrokerUrl(), { namespace });
    const client = await new Service("client", { broker, logger: silentLogger }).connect();
    atTheEnd(() => client.shutdown());
    await client.send("orders", "/orders/7/print");
    await program.says("printing 7");
    expect(await program.terminate()).toBe(0);
    expect(program.output).toBe("printing 7\nprinted 7\n");
  });

  it("has a scaler that reads the inbox of the Deployment's service, and its address from the Secret", async () => {
    const [authentication, scaled] = manifests("orders-scaler.yaml") as [
      {
        readonly metadata: { readonly name: string };
        readonly spec: {
          readonly secretTargetRef: readonly { readonly name: string; readonly key: string }[];
        };
      },
      {
        readonly spec: {
          readonly scaleTargetRef: { readonly name: string };
          readonly minReplicaCount: number;
          readonly triggers: readonly [
            {
              readonly metadata: { readonly queueName: string; readonly protocol: string };
              readonly authenticationRef: { readonly name: string };
            },
          ];
        };
      },
    ];
    const [trigger] = scaled.spec.triggers;
    expect(scaled.spec.scaleTargetRef.name).toBe(metadata.name);
    expect(scaled.spec.minReplicaCount).toBeGreaterThan(0);
    expect(trigger.authenticationRef.name).toBe(authentication.metadata.name);
    for (const { name, key } of authentication.spec.secretTargetRef) {
      expect(name).toBe(secret.metadata.name);
      expect(new URL(secret.stringData[key] ?? "").protocol).toBe(`${trigger.metadata.protocol}s:`);
    }
    const named = container.env.find(({ name }) => name === "CONFLUO_NAMESPACE")?.value;
    const broker = freshBroker({ logger: silentLogger });
    atTheEnd(() => deleteNamespace(broker.namespace, ["orders"]));
    const orders = new Service("orders", { broker, logger: silentLogger }).route("/", () => 1);
    await orders.connect();
    atTheEnd(() => orders.shutdown());
    const queue = trigger.metadata.queueName.replace(`${named}.`, `${broker.namespace}.`);
    expect(await broker.queue(queue)).toMatchObject({ messages: 0 });
  });
});
