import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect } from "amqplib";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../src/testing/index.ts";
import { deleteNamespace, testBrokerUrl } from "./support/rabbitmq.ts";

// The examples import "confluo" as a user does: the built package.
beforeAll(() => {
  execFileSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" });
});

const running: Example[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((example) => example.kill()));
});

class Example {
  output = "";
  errors = "";
  readonly exit: Promise<number | null>;
  readonly #child: ChildProcess;

  constructor(path: string, broker: string | undefined) {
    const { CONFLUO_BROKER: _, NODE_ENV: __, ...env } = process.env;
    this.#child = spawn(process.execPath, ["--import", "tsx", `examples/${path}`], {
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

function expected(name: string): string {
  return readFileSync(new URL(`../examples/expected/${name}.txt`, import.meta.url), "utf8");
}

describe("examples on the embedded broker", () => {
  for (const [name, path] of [
    ["hello", "hello.ts"],
    ["workers", "workers.ts"],
    ["contracts", "contracts/main.ts"],
  ] as const) {
    it(`${name} prints what it should and ends by itself`, async () => {
      const example = new Example(path, undefined);
      expect(await example.exit).toBe(0);
      expect(example.output).toBe(expected(name));
      expect(example.errors).toMatch(/^confluo: No broker address given: .*\n$/);
    });
  }
});

describe("examples on RabbitMQ", () => {
  const services = ["Service-A", "Service-B", "worker", "manager", "billing", "shop", "greeter"];
  afterEach(() => deleteNamespace("confluo", services));

  it("hello prints what it should and stays connected", async () => {
    const example = new Example("hello.ts", testBrokerUrl());
    await example.says("200");
    expect(example.output).toBe(expected("hello"));
    expect(example.errors).toBe("");
  });

  for (const [name, path] of [
    ["workers", "workers.ts"],
    ["contracts", "contracts/main.ts"],
  ] as const) {
    it(`${name} prints what it should and ends by itself`, async () => {
      const example = new Example(path, testBrokerUrl());
      expect(await example.exit).toBe(0);
      expect(example.output).toBe(expected(name));
      expect(example.errors).toBe("");
    });
  }

  it("plain-amqp: a bare AMQP program publishes an event, calls a command and reads its answer", async () => {
    const service = new Example("plain-amqp/service.ts", testBrokerUrl());
    await isBound("confluo.greeter.calls");
    const client = new Example("plain-amqp/client.ts", testBrokerUrl());
    expect(await client.exit).toBe(0);
    expect(client.output).toBe('client: "Hello, Ada!"\n');
    await service.says("service: /visitor/7/arrived { name: 'Ada' }\n");
    expect(await service.terminate()).toBe(0);
  });

  it("processes: the services of hello as processes of their own, which stop on SIGTERM with exit code 0", async () => {
    const a = new Example("processes/service-a.ts", testBrokerUrl());
    const b = new Example("processes/service-b.ts", testBrokerUrl());
    await Promise.all([isBound("confluo.Service-A.calls"), isBound("confluo.Service-B.calls")]);
    const client = new Example("processes/publish.ts", testBrokerUrl());
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
