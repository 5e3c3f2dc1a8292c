import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, posix } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { consumers, makeConsumer, type Packed, runNode } from "./support/consumer.ts";

/** The package as users get it: packed, installed into an empty project, used from there. */

const root = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "confluo-package-"));
const consumer = join(folder, "consumer");

let packed: Packed;

beforeAll(async () => {
  packed = await makeConsumer(consumer);
}, 180_000);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("the tarball", () => {
  test("holds what users need and nothing else", () => {
    for (const path of [
      "package.json",
      "README.md",
      "LICENSE",
      "CHANGELOG.md",
      "dist/index.js",
      "dist/index.d.ts",
      "docs/README.md",
      "docs/alerts.yml",
      "examples/hello.ts",
    ]) {
      expect(packed.files).toContain(path);
    }
    const allowed =
      /^(package\.json|dev-broker\/[\w-]+\.m[jt]s|dev-broker\/index\.d\.mts|(README|CHANGELOG|CONTRIBUTING|bench\/README)\.md|LICENSE|docs\/.+\.(md|yml|svg)|examples\/.+\.(ts|md|txt)|dist\/.+(\.js|\.d\.ts))$/;
    expect(packed.files.filter((path) => !allowed.test(path))).toEqual([]);
  });

  test("holds every page that its README links to, and that those pages link to", () => {
    const files = new Set(packed.files);
    const folders = new Set(packed.files.map((path) => posix.dirname(path)));
    // What proves a page right is in the repository.
    const isOfTheRepository = (page: string, path: string): boolean =>
      page !== "README.md" && /^(src|test|scripts|bench\/src|bench\/results)\//.test(path);
    const pages = packed.files.filter((path) => path.endsWith(".md"));
    const dead = pages.flatMap((page) => {
      const text = readFileSync(join(root, page), "utf8").replace(/^```[\s\S]*?^```/gm, "");
      return [...text.matchAll(/\]\(([^)\s#:]+)(?:#[^)\s]*)?\)/g)]
        .map(([, link = ""]) => posix.join(posix.dirname(page), link))
        .filter((path) => !files.has(path) && !folders.has(path) && !isOfTheRepository(page, path))
        .map((path) => `${page}: ${path}`);
    });
    expect(pages.length).toBeGreaterThan(20);
    expect(dead).toEqual([]);
  });

  test("holds no tests", () => {
    expect(packed.files.filter((path) => /\.(test|test-d|spec|bench)\./.test(path))).toEqual([]);
  });

  test("asks for four packages at most, and none that users must add", () => {
    const { dependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} } = readManifest();
    expect(Object.keys(dependencies).length).toBeLessThanOrEqual(4);
    const required = Object.keys(peerDependencies).filter(
      (name) => peerDependenciesMeta[name]?.optional !== true,
    );
    expect(required).toEqual([]);
  });

  test("satisfies publint", async () => {
    await runNode(root, findTool("publint", "src/cli.js"), "run", packed.tarball, "--strict");
  });

  test("resolves to types in every ESM resolution (are the types wrong?)", async () => {
    const tool = findTool("@arethetypeswrong/cli", "dist/index.js");
    await runNode(root, tool, packed.tarball, "--profile", "esm-only", "--no-emoji", "--format", "ascii");
  }, 60_000);

  test("says in its types which library they need", () => {
    const types = readFileSync(join(consumer, "node_modules", "confluo", "dist", "index.d.ts"), "utf8");
    expect(types).toContain('/// <reference lib="esnext.disposable" preserve="true" />');
  });
});

describe("its types", () => {
  test("name nothing internal and nothing that fits one copy of the package only", () => {
    const told = reachableTypes().filter(({ text }) => /#private|@internal|unique symbol/.test(text));
    expect(told.map(({ path }) => path)).toEqual([]);
  });

  test.each([
    ["7", "typescript"],
    ["5.9", "typescript-5.9"],
  ])(
    "let services, middleware, handlers, keys, contracts and brokers of another copy pass, with TypeScript %s",
    async (_, compiler) => {
      const project = join(consumer, `copies-${compiler}`);
      const copy = join(project, "node_modules", "confluo-copy");
      cpSync(join(consumer, "node_modules", "confluo"), copy, { recursive: true });
      const manifest = readFileSync(join(copy, "package.json"), "utf8");
      writeFileSync(
        join(copy, "package.json"),
        manifest.replace('"name": "confluo"', '"name": "confluo-copy"'),
      );
      const compilerOptions = { target: "es2023", module: "nodenext", strict: true, noEmit: true, types: [] };
      writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["main.ts"] }));
      writeFileSync(join(project, "main.ts"), copiesCode);
      await runNode(project, findTool(compiler, "bin/tsc"), "-p", project);
    },
    60_000,
  );
});

describe("an installed package", () => {
  test("can be imported, each entry of it", async () => {
    const code = `
      const main = await import("confluo");
      const contract = await import("confluo/contract");
      await import("confluo/testing");
      await import("confluo/http");
      console.log([typeof main.Service, contract.command === main.command].join());`;
    expect(await evaluate("module", code)).toBe("function,true");
  });

  test("can be required", async () => {
    const code = `
      const { Service, command } = require("confluo");
      console.log([typeof Service, command === require("confluo/contract").command].join());`;
    expect(await evaluate("commonjs", code)).toBe("function,true");
  });

  test("loads no AMQP client for its contracts", async () => {
    // Modules in CommonJS, as amqplib is, are in this cache also when they were imported.
    const code = `
      import { createRequire } from "node:module";
      const require = createRequire(process.cwd() + "/");
      const isLoaded = () => Object.keys(require.cache).some((file) => file.includes("/node_modules/amqplib/"));
      await import("confluo/contract");
      const before = isLoaded();
      await import("amqplib");
      console.log([before, isLoaded()].join());`;
    expect(await evaluate("module", code)).toBe("false,true");
  });

  test.each([
    ["cjs", "bundled.cjs"],
    ["esm", "bundled.mjs"],
  ])(
    "bundles with esbuild (%s) without the optional OpenTelemetry, and runs where nothing is installed",
    async (format, file) => {
      expect(existsSync(join(consumer, "node_modules", "@opentelemetry"))).toBe(false);
      copyFileSync(join(consumers, "bundled.js"), join(consumer, "app.js"));
      const target = join(folder, "bundled", file);
      const options = { entryPoints: [join(consumer, "app.js")], outfile: target, format };
      const { warnings } = await esbuild.build({
        ...options,
        bundle: true,
        platform: "node",
        logLevel: "silent",
      });
      expect(warnings).toEqual([]);
      expect(await runNode(folder, target)).toBe("ran BROKER_UNREACHABLE undefined\n");
    },
    60_000,
  );

  test.each([
    ["7", "typescript"],
    ["5.9", "typescript-5.9"],
  ])(
    "type-checks with TypeScript %s, without Node's types and without skipLibCheck",
    async (_, compiler) => {
      const project = join(consumer, compiler);
      mkdirSync(project);
      const compilerOptions = {
        target: "es2023",
        module: "nodenext",
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true,
        skipLibCheck: false,
        types: [],
      };
      writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["main.ts"] }));
      writeFileSync(join(project, "main.ts"), consumerCode);
      expect(existsSync(join(consumer, "node_modules", "@types", "node"))).toBe(false);
      await runNode(project, findTool(compiler, "bin/tsc"), "-p", project);
    },
    60_000,
  );
});

/** The bundler that tsx brings. */
const esbuild: {
  build(options: object): Promise<{ readonly warnings: readonly unknown[] }>;
} = createRequire(createRequire(import.meta.url).resolve("tsx"))("esbuild");

/** Touches what the types of each entry are made of; the directives fail where `any` has crept in. */
const consumerCode = `
import { Service, isConfluoError, type Reply } from "confluo";
import { command, event } from "confluo/contract";
import type {} from "confluo/testing";
import type {} from "confluo/http";

await using service = new Service("orders");
service.route("/orders/:id", ({ params, signal }) => {
  const id: string = params.id;
  // @ts-expect-error the path has no such parameter
  params.other;
  return { id, aborted: signal.aborted };
});
service.subscribe("/order/*/placed", ({ body }) => {
  // @ts-expect-error a body without a schema is unknown
  body.total;
});
await service.connect("memory:");

const getOrder = command("orders", "/orders/:id");
const orderPlaced = event("/order/:id/placed");
const reply: Reply = await service.call(getOrder.at({ id: "7" }), undefined, { timeoutMs: 1_000 });
const status: number = reply.status;
// @ts-expect-error an event that declares no body takes none
await service.publish(orderPlaced.at({ id: 7 }), { total: status });
try {
  await service.call("orders", "/orders/7");
} catch (error) {
  if (isConfluoError(error, "TIMEOUT")) console.log(error.code);
}
`;

/** A service of one copy of the package that uses what was made with another. */
const copiesCode = `
import { Broker, Service, type CommandContract, type Context, type Verbs } from "confluo";
import * as copy from "confluo-copy";

const user = copy.stateKey<string>("user");
const named: copy.Middleware = (context, next) => {
  context.set(user, "ada");
  return next();
};
const create = copy.command("orders", "/orders/:id");
interface Schema<Value> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: "consumer";
    readonly validate: (value: unknown) => { readonly value: Value };
    readonly types?: { readonly input: Value; readonly output: Value };
  };
}
declare const count: CommandContract<"/count", Schema<{ of: string }>, Schema<{ total: number }>>;
const handler: copy.CommandHandler<typeof create> = ({ params, reply }) => reply(params.id, { status: 201 });
const service = new Service("orders", { broker: new copy.Broker("memory:"), logger: copy.silentLogger });
service.use(named).route(create, handler);
await service.connect(new copy.Broker("memory:"));
await service.call(create.at({ id: 7 }));
const broker: copy.Broker = new Broker("memory:");
const plugin = async (verbs: copy.Verbs): Promise<string> => {
  verbs.route("/health/:part", ({ params }) => params.part).subscribe("/flush", () => undefined);
  await verbs.send(create.at({ id: 7 }));
  await verbs.publish("/flush");
  return (await verbs.call(count, { of: "orders" })).body.total.toFixed();
};
export const told: readonly string[] = [await plugin(service), await plugin(service as Verbs)];
export const whole: copy.Service = service;
export const back: Service = whole;
export const caller: Pick<copy.Verbs, "call"> = service;
// @ts-expect-error a verb of its name alone is none
export const none: Pick<copy.Verbs, "call"> = { call: (_target: number) => undefined };
// @ts-expect-error a service of another copy checks bodies, too
export const refused = (): unknown => whole.call(count, { of: 1 });
// @ts-expect-error and parameters
export const unbound = (): unknown => whole.call(create);
export const nameOf = (context: copy.Context, same: Context = context): string | undefined => same.get(user);
export class Fake implements Pick<Service, "name" | "shutdown"> {
  readonly name: string = broker.namespace;
  async shutdown(): Promise<void> {}
}
`;

/** The declarations that the entries lead to. */
function reachableTypes(): readonly { readonly path: string; readonly text: string }[] {
  const dist = join(consumer, "node_modules", "confluo", "dist");
  const found = new Map<string, string>();
  const visit = (path: string): void => {
    if (found.has(path)) return;
    const text = readFileSync(join(dist, path), "utf8");
    found.set(path, text);
    for (const [, to = ""] of text.matchAll(/(?:from |import\()"(\.[^"]+)"/g))
      visit(join(dirname(path), to).replace(/\.[jt]s$/, ".d.ts"));
  };
  for (const entry of ["", "contract/", "http/", "testing/"]) visit(`${entry}index.d.ts`);
  return [...found].map(([path, text]) => ({ path, text }));
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

function readManifest(): Manifest {
  return JSON.parse(readFileSync(join(consumer, "node_modules", "confluo", "package.json"), "utf8"));
}

function findTool(name: string, file: string): string {
  return join(root, "node_modules", name, file);
}

async function evaluate(inputType: "module" | "commonjs", code: string): Promise<string> {
  const quiet = "--disable-warning=ExperimentalWarning";
  return (await runNode(consumer, quiet, `--input-type=${inputType}`, "--eval", code)).trim();
}
