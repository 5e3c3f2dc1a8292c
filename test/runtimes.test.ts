import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Namespace } from "../src/protocol/topology.ts";
import { consumers, makeConsumer, type Printed, run, runNode } from "./support/consumer.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { findRuntime, installRuntimes, requireRuntime, versions } from "./support/runtimes.ts";

/** The package in what `docs/where-it-runs.md` names beside Node: in other runtimes, in webpack's bundles and in Jest. */

const examples = join(import.meta.dirname, "..", "examples");
const folder = mkdtempSync(join(tmpdir(), "confluo-runtimes-"));
const consumer = join(folder, "consumer");

// Programs are ended before their test is.
const timeoutMs = 120_000;
const testTimeoutMs = 300_000;

beforeAll(async () => {
  await installRuntimes();
}, 900_000);

beforeAll(async () => {
  await makeConsumer(consumer);
  copyFileSync(join(examples, "hello.ts"), join(consumer, "hello.ts"));
  for (const file of ["bundled.js", "jest.test.js", "round-trip.ts"]) {
    copyFileSync(join(consumers, file), join(consumer, file));
  }
}, 180_000);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe.each([
  { name: "bun", title: `Bun ${versions.bun}`, args: [] },
  { name: "deno", title: `Deno ${versions.deno}`, args: ["run", "-A", "--node-modules-dir=manual"] },
] as const)("$title", ({ name, args }) => {
  test("is the version that runs here", async () => {
    const { out } = await run(consumer, findRuntime(name), ["--version"]);
    expect(out).toMatch(new RegExp(`^(deno )?${versions[name].replaceAll(".", "\\.")}\\b`));
  });

  test(
    "runs the first example on the embedded broker, and ends",
    async () => {
      const { out, err } = await runProgram("hello.ts", {});
      const expected = readFileSync(join(examples, "expected", "hello.txt"), "utf8");
      expect(withoutLayout(out)).toBe(withoutLayout(expected));
      expect(err).toMatch(/^confluo: No broker address given: .*\n$/);
    },
    testTimeoutMs,
  );

  test(
    "calls, refuses, publishes and sends on RabbitMQ, and ends",
    async () => {
      const broker = freshBroker();
      const { namespace } = broker;
      try {
        const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: namespace };
        const { out, err } = await runProgram("round-trip.ts", env);
        expect(err).toBe("");
        expect(JSON.parse(out)).toEqual({
          answer: { status: 200, body: { id: "7", asked: { of: "shop" } } },
          refused: { status: 404, code: "NO_SUCH_ITEM", data: { id: "0" }, message: "no such item" },
          arrived: [
            { kind: "event", id: "8", body: { total: 12 } },
            { kind: "send", id: "9", body: { count: 2 } },
          ],
        });
        // It was that broker: the inbox of a service stays there.
        expect(await broker.queue(new Namespace(namespace).inbox("stock"))).toMatchObject({ messages: 0 });
      } finally {
        await deleteNamespace(namespace, ["stock", "shop"]);
      }
    },
    testTimeoutMs,
  );

  function runProgram(file: string, env: Readonly<Record<string, string>>): Promise<Printed> {
    const own = {
      NO_COLOR: "1",
      CONFLUO_LOG: "text",
      // What they keep of what they compiled.
      BUN_RUNTIME_TRANSPILER_CACHE_PATH: join(folder, "bun"),
      DENO_DIR: join(folder, "deno"),
      DENO_NO_UPDATE_CHECK: "1",
    };
    return run(consumer, findRuntime(name), [...args, file], { env: { ...own, ...env }, timeoutMs });
  }
});

describe(`webpack ${versions.webpack}`, () => {
  test.each([
    ["CommonJS, minimized,", "bundled.cjs", { module: false, minimize: true }],
    ["an ES module", "bundled.mjs", { module: true, minimize: false }],
  ])(
    "bundles to %s without the optional OpenTelemetry, and the bundle runs where nothing is installed",
    async (_, filename, { module, minimize }) => {
      expect(existsSync(join(consumer, "node_modules", "@opentelemetry"))).toBe(false);
      const path = join(folder, filename.replace(".", "-"));
      mkdirSync(path);
      const warnings = await bundle({ output: { path, filename, module }, optimization: { minimize } });
      expect(warnings).toEqual([expect.stringContaining("Can't resolve '@opentelemetry/api'")]);
      expect(await runNode(path, join(path, filename))).toBe("ran BROKER_UNREACHABLE undefined\n");
    },
    testTimeoutMs,
  );
});

describe(`Jest ${versions.jest}`, () => {
  test(
    "runs tests of services as ES modules, and ends",
    async () => {
      const jest = requireRuntime.resolve("jest/bin/jest");
      const node = ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning"];
      const options = ["--no-watchman", "--cacheDirectory", join(folder, "jest")];
      const env = { NO_COLOR: "1" };
      const { out, err } = await run(consumer, process.execPath, [...node, jest, ...options], {
        env,
        timeoutMs,
      });
      expect(out).toBe("");
      expect(err).toMatch(/^PASS .*\n(?: {2}✓ .*\n){3}\n(?:.+\n){4}Ran all test suites\.\n+$/);
    },
    testTimeoutMs,
  );
});

/** Bun prints each field of an object on a line of its own. */
function withoutLayout(text: string): string {
  return text.replace(/,?\s+/g, " ");
}

interface Compiler {
  run(done: (error: Error | null, stats?: Stats) => void): void;
  close(done: (error?: Error | null) => void): void;
}

interface Stats {
  toJson(options: object): {
    readonly errors: readonly { readonly message: string }[];
    readonly warnings: readonly { readonly message: string }[];
  };
}

/** Bundles as for production; resolves with the warnings. */
async function bundle(options: object): Promise<readonly string[]> {
  const webpack: (options: object) => Compiler = requireRuntime("webpack");
  const entry = join(consumer, "bundled.js");
  const compiler = webpack({ mode: "production", target: "node20", context: consumer, entry, ...options });
  const stats = await new Promise<Stats | undefined>((resolve, reject) => {
    compiler.run((error, found) => (error === null ? resolve(found) : reject(error)));
  });
  await new Promise<void>((resolve, reject) => {
    compiler.close((error) => (error ? reject(error) : resolve()));
  });
  const { errors = [], warnings = [] } = stats?.toJson({ all: false, errors: true, warnings: true }) ?? {};
  expect(errors).toEqual([]);
  return warnings.map(({ message }) => message);
}
