import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { connect } from "amqplib";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../src/testing/index.ts";
import { deleteServices, testBrokerUrl } from "./support/rabbitmq.ts";

/** Every example as a user runs it, on the built package, against its expected output. One file: they share names. */

const root = join(import.meta.dirname, "..");
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
// What npm and vitest set for their own children would lead npm to this project.
const inherited = Object.entries(process.env).filter(
  ([name]) => !/^(npm_|vitest|node_env$|node_options$|confluo_)/i.test(name),
);
// As in a terminal.
const env = { ...Object.fromEntries(inherited), CONFLUO_LOG: "text" };

beforeAll(() => {
  execFileSync(process.execPath, [join(root, "scripts", "build.mjs")], { env, stdio: "inherit" });
});

const running: Program[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((program) => program.kill()));
  const services = ["Service-A", "Service-B", "worker", "manager", "billing", "shop", "mail", "greeter"];
  await deleteServices("confluo", services);
});

class Program {
  output = "";
  errors = "";
  readonly exit: Promise<number | null>;
  readonly #child: ChildProcess;

  constructor(file: string, broker?: string) {
    this.#child = spawn(process.execPath, file.endsWith(".ts") ? ["--import", tsx, file] : [file], {
      cwd: dirname(file),
      env: broker === undefined ? env : { ...env, CONFLUO_BROKER: broker },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child.stdout?.on("data", (chunk: Buffer) => {
      this.output += chunk.toString();
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.errors += chunk.toString();
    });
    this.exit = new Promise((resolve) => this.#child.on("exit", (code) => resolve(code)));
    running.push(this);
  }

  async says(text: string): Promise<void> {
    await eventually(
      () => this.output.includes(text),
      `${JSON.stringify(text)} in ${this.output}${this.errors}`,
    );
  }

  async terminate(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    return this.exit;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exit;
  }
}

function example(path: string): string {
  return join(root, "examples", path);
}

function expected(name: string): string {
  return readFileSync(new URL(`../examples/expected/${name}.txt`, import.meta.url), "utf8");
}

const readme = readFileSync(join(root, "README.md"), "utf8");

describe("the first example of the README, copied into an empty project that installed the package", () => {
  const folder = mkdtempSync(join(tmpdir(), "confluo-first-"));
  const printed = "receipt: { id: '7', total: 12 }\n";

  beforeAll(() => {
    const npm = (cwd: string, ...args: readonly string[]): string =>
      execFileSync("npm", [...args, "--loglevel=error"], {
        cwd,
        env,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
      });
    const [{ filename }] = JSON.parse(npm(root, "pack", "--json", "--pack-destination", folder));
    writeFileSync(join(folder, "package.json"), '{ "name": "hello", "private": true, "type": "module" }');
    npm(folder, "install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, filename));
    const text = /<!-- first example -->\n```ts\n(.*?)```/s.exec(readme)?.[1];
    if (text === undefined) throw new Error("the README has no first example");
    for (const file of ["shop.js", "shop.ts"]) writeFileSync(join(folder, file), text);
  }, 180_000);

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  for (const file of ["shop.ts", "shop.js"]) {
    it(`prints its answer as ${file} with nothing else set up, and ends`, async () => {
      const program = new Program(join(folder, file));
      expect(await program.exit).toBe(0);
      expect(program.output).toBe(printed);
    });

    it(`prints its answer as ${file} on RabbitMQ when CONFLUO_BROKER names one`, async () => {
      const program = new Program(join(folder, file), testBrokerUrl());
      await program.says("\n");
      expect(program.output).toBe(printed);
    });
  }
});

it("the README shows the demo as it is, and what it prints", () => {
  const [, program, output] =
    /<!-- seed example -->\n```ts\n(.*?)```\n+```console\n(.*?)```/s.exec(readme) ?? [];
  expect(program).toBe(readFileSync(join(root, "examples", "hello.ts"), "utf8"));
  expect(output).toBe(expected("hello"));
});

describe("examples on the embedded broker", () => {
  for (const [name, path] of [
    ["hello", "hello.ts"],
    ["workers", "workers.ts"],
    ["contracts", "contracts/main.ts"],
    ["traces", "traces/main.ts"],
  ] as const) {
    it(`${name} prints what it should and ends by itself`, async () => {
      const program = new Program(example(path));
      expect(await program.exit).toBe(0);
      expect(program.output).toBe(expected(name));
      expect(program.errors).toMatch(/^confluo: No broker address given: .*\n$/);
    });
  }
});

/**
 * RabbitMQ 4 on a machine with more to do than it can is seen to end connections with an internal error of its own: then an
 * example reconnects and says so, as it should.
 */
function withoutBrokerFaults(errors: string): string {
  const isFault = (line: string): boolean => line.includes("541 (INTERNAL-ERROR)");
  const lines = errors.split("\n");
  if (!lines.some(isFault)) return errors;
  return lines.filter((line) => !isFault(line) && !/: Connected to .* again\.$/.test(line)).join("\n");
}

describe("examples on RabbitMQ", () => {
  it("hello prints what it should and stays connected", async () => {
    const program = new Program(example("hello.ts"), testBrokerUrl());
    await program.says("200");
    expect(program.output).toBe(expected("hello"));
    expect(program.errors).toBe("");
  });

  for (const [name, path] of [
    ["workers", "workers.ts"],
    ["contracts", "contracts/main.ts"],
    ["traces", "traces/main.ts"],
  ] as const) {
    it(`${name} prints what it should and ends by itself`, async () => {
      const program = new Program(example(path), testBrokerUrl());
      expect(await program.exit).toBe(0);
      expect(program.output).toBe(expected(name));
      expect(withoutBrokerFaults(program.errors)).toBe("");
    });
  }

  it("plain-amqp: a bare AMQP program publishes an event, calls a command and reads its answer", async () => {
    const service = new Program(example("plain-amqp/service.ts"), testBrokerUrl());
    await isBound("confluo.greeter.calls");
    const client = new Program(example("plain-amqp/client.ts"), testBrokerUrl());
    expect(await client.exit).toBe(0);
    expect(client.output).toBe('client: "Hello, Ada!"\n');
    await service.says("service: /visitor/7/arrived { name: 'Ada' }\n");
    expect(await service.terminate()).toBe(0);
  });

  it("processes: the services of hello as processes of their own, which stop on SIGTERM with exit code 0", async () => {
    const a = new Program(example("processes/service-a.ts"), testBrokerUrl());
    const b = new Program(example("processes/service-b.ts"), testBrokerUrl());
    await Promise.all([isBound("confluo.Service-A.calls"), isBound("confluo.Service-B.calls")]);
    const client = new Program(example("processes/publish.ts"), testBrokerUrl());
    expect(await client.exit).toBe(0);
    expect(client.output).toBe("published\n");
    await b.says("200 { value: 1 }");
    expect(await Promise.all([a.terminate(), b.terminate()])).toEqual([0, 0]);
    expect(a.output).toBe('Service-A got {"data":"Some body data"}\nService-A is down\n');
    expect(b.output).toBe('Service-B got "hello"\n200 { value: 1 }\nService-B is down\n');
  });
});

// The calls queue is the last thing a service consumes: then its subscriptions are bound, or will be in this instant.
async function isBound(queue: string): Promise<void> {
  await eventually(async () => {
    const connection = await connect(testBrokerUrl());
    connection.on("error", () => undefined);
    try {
      const channel = await connection.createChannel();
      channel.on("error", () => undefined);
      return (await channel.checkQueue(queue)).consumerCount > 0;
    } catch {
      return false;
    } finally {
      await connection.close().catch(() => undefined);
    }
  }, `a consumer on ${queue}`);
}
