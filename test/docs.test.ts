/** The documentation against the code: what it lists is what there is, its links lead somewhere, its snippets compile. */

import { execFile } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mapConcurrently } from "../src/async/concurrently.ts";
import { errorTable, reservedCodes } from "../src/errors.ts";
import { header } from "../src/protocol/codec.ts";
import { levelQueues } from "../src/protocol/delays.ts";
import {
  INSTANCE_EVENTS_ARGUMENTS,
  LEVELS,
  Namespace,
  QUESTIONS_ARGUMENTS,
  REPLIES_ARGUMENTS,
} from "../src/protocol/topology.ts";
import { versions } from "./support/runtimes.ts";

const root = join(import.meta.dirname, "..");
const pages = ["README.md", ...readPages("docs")];
const errors = unpadded(readPage("docs/errors.md"));
const protocol = unpadded(readPage("docs/protocol.md"));

describe("docs/errors.md", () => {
  // | `CODE` | status | …
  const rows = [...errors.matchAll(/^\| `([A-Z][A-Z_]+)` \| (\d+) \|/gm)].map(
    ([, code, status]) => [code, Number(status)] as const,
  );

  it("has one row for every code, with its status", () => {
    const statuses = Object.entries(errorTable).map(([code, { status }]) => [code, status] as const);
    expect(rows.toSorted()).toEqual(statuses.toSorted());
  });

  it.each(pages)("knows every code that %s mentions in a row or as confluo's", (page) => {
    const ours = new Set<string>([...Object.keys(errorTable), ...reservedCodes]);
    // Codes that snippets and examples make up are declared where they are made: `code: "…"`, `error("…"` or `…: {`.
    const text = readPage(page);
    const invented = new Set(
      [...text.matchAll(/(?:code: |error\(|"code": |case )"([A-Z_]+)"|\b([A-Z]+_[A-Z_]+): \{/g)].map(
        ([, quoted, declared]) => quoted ?? declared,
      ),
    );
    const mentioned = [...text.matchAll(/[`"]([A-Z]{2,}(?:_[A-Z]+)+)[`"]/g)].map(([, code]) => code ?? "");
    expect(mentioned.filter((code) => !ours.has(code) && !invented.has(code) && !known.has(code))).toEqual(
      [],
    );
  });
});

/** Words that look like error codes: environment variables, the broker's replies, codes that prose uses as examples. */
const known = new Set([
  "NODE_ENV",
  "CONFLUO_BROKER",
  "CONFLUO_TEST_BROKER",
  "CONFLUO_TEST_POSTGRES",
  "CONFLUO_NAMESPACE",
  "CONFLUO_CA",
  "CONFLUO_CERT",
  "CONFLUO_KEY",
  "CONFLUO_SERVICES",
  "NO_COLOR",
  "NO_SUCH_ORDER",
  "RABBITMQ_DEFAULT_USER",
  "RABBITMQ_DEFAULT_PASS",
  "CONNECTION_FORCED",
]);

it("the decision on statuses has every code that has one", () => {
  const text = unpadded(readPage("docs/decisions/0006-statuses.md"));
  const rows = [...text.matchAll(/^\| (\d+) \| (.*?) \|/gm)];
  const told = rows.flatMap(([, status, codes = ""]) =>
    [...codes.matchAll(/`(\w+)`/g)].map(([, code]) => `${code} ${status}`),
  );
  const statuses = Object.entries(errorTable).map(([code, { status }]) => `${code} ${status}`);
  expect(told.toSorted()).toEqual(statuses.toSorted());
});

describe("docs/operations.md", () => {
  it("has one row for every alert, in their order", () => {
    const named = (text: string, name: RegExp): readonly string[] =>
      [...text.matchAll(name)].map(([, alert = ""]) => alert);
    const alerts = named(readPage("docs/alerts.yml"), /^ +- alert: (\w+)$/gm);
    expect(alerts.length).toBeGreaterThan(0);
    expect(named(unpadded(readPage("docs/operations.md")), /^\| `(Confluo\w+)` \|/gm)).toEqual(alerts);
  });
});

describe("docs/where-it-runs.md", () => {
  it("names the versions that the package is tested with", () => {
    const rows = unpadded(readPage("docs/where-it-runs.md")).matchAll(
      /^\| (\w+).* \| tested: ([\d.]+) \|$/gm,
    );
    const named = [...rows].map(([, name = "", version]) => [name.toLowerCase(), version]);
    expect(Object.fromEntries(named)).toEqual(versions);
  });
});

describe("docs/protocol.md", () => {
  it.each(Object.values(header))("has a row for the header %s", (name) => {
    expect(protocol).toMatch(new RegExp(`^\\| \`${name}\` \\|`, "m"));
  });

  it("names no header of confluo's that does not exist", () => {
    const headers = new Set<string>(Object.values(header));
    const [used = ""] = protocol.split("## Reserved");
    const named = [...used.matchAll(/`(confluo-[a-z-]+)`/g)].map(([, name]) => name ?? "");
    expect(named.filter((name) => name !== "confluo-" && !headers.has(name))).toEqual([]);
  });

  const namespace = new Namespace("<ns>");
  const row = (name: string): string =>
    protocol.split("\n").find((line) => line.startsWith(`| ${name}`)) ?? "";
  const argumentsIn = (text: string): Record<string, string> =>
    Object.fromEntries(
      [...text.matchAll(/`((?:x|alternate)-[a-z-]+)`: (?:`([^`]+)`|(\d+))/g)].map(
        ([, name = "", quoted, number = ""]) => [name, quoted ?? number],
      ),
    );
  const texts = (args: Readonly<Record<string, unknown>>): Record<string, string> =>
    Object.fromEntries(Object.entries(args).map(([name, value]) => [name, String(value)]));

  const queues = [
    ...namespace.callQueues("<service>"),
    ...namespace.durableQueues("<service>"),
    ...namespace.sharedQueues(),
  ];

  it.each(queues)("gives $name the arguments that it is declared with", ({ name, arguments: args }) => {
    const found = queueRow(name);
    expect(argumentsIn(found)).toEqual(texts(args));
  });

  // 'the same' refers to the row above.
  function queueRow(name: string): string {
    const lines = protocol.split("\n");
    const at = lines.findIndex(
      (line) => line.startsWith(`| \`${name}\` |`) && /x-queue-type|the same/.test(line),
    );
    const line = lines[at] ?? "";
    return line.includes("the same") ? (lines[at - 1] ?? "") : line;
  }

  it("gives the exclusive queues the arguments that they are declared with", () => {
    expect(argumentsIn(row("replies"))).toEqual(texts(REPLIES_ARGUMENTS));
    expect(argumentsIn(row("an instance's own events"))).toEqual(texts(INSTANCE_EVENTS_ARGUMENTS));
    expect(argumentsIn(row("questions to an instance"))).toEqual(texts(QUESTIONS_ARGUMENTS));
  });

  it("gives the delay levels the arguments that they are declared with", () => {
    const told = argumentsIn(row("`<ns>.wait.<k>`, for each level | `x-queue-type`"));
    const levels = levelQueues(namespace, 2 ** LEVELS - 1);
    expect(levels).toHaveLength(26);
    for (const [level, { arguments: args }] of levels.entries()) {
      const { "x-message-ttl": ttl, "x-dead-letter-exchange": to, ...others } = args;
      const { "x-message-ttl": _, ...same } = told;
      expect(same).toEqual(texts(others));
      expect([ttl, to]).toEqual([250 * 2 ** level, level === 0 ? "<ns>.due" : `<ns>.wait.${level - 1}`]);
    }
    expect(row("`<ns>.wait.<k>`, for each level | `x-queue-type`")).toContain(
      "`x-message-ttl`: 250 · 2^`<k>`",
    );
  });

  it("reserves each error code that services may not use", () => {
    const [, reserved = ""] = protocol.split("## Reserved");
    for (const code of reservedCodes) expect(reserved).toContain(`\`${code}\``);
  });

  it("lists the exchanges with their types and arguments", () => {
    for (const { name, type, arguments: args = {} } of namespace.exchanges()) {
      const found = row(`\`${name}\` | ${type} |`);
      expect(argumentsIn(found), name).toEqual(texts(args));
      expect(found, name).not.toBe("");
    }
  });
});

describe("links", () => {
  const anchors = new Map<string, ReadonlySet<string>>();

  it.each(pages)("of %s lead to files and headings that exist", (page) => {
    const broken = linksOf(readPage(page)).filter((link) => !leadsSomewhere(page, link));
    expect(broken).toEqual([]);
  });

  function leadsSomewhere(page: string, link: string): boolean {
    if (/^[a-z]+:/.test(link)) return link.startsWith("https://");
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? page : relative(root, join(root, dirname(page), path));
    if (!existsSync(join(root, target))) return false;
    if (anchor === undefined) return true;
    if (!anchors.has(target)) anchors.set(target, headingsOf(readPage(target)));
    return anchors.get(target)?.has(anchor) === true;
  }
});

it("describes each command as the command itself does", () => {
  const page = join(root, "docs", "cli.md");
  if (process.env.UPDATE_DOCS !== undefined) writeFileSync(page, commandLineDocs());
  expect(readPage("docs/cli.md")).toBe(commandLineDocs());
});

describe("the list of decisions", () => {
  it("has every decision, in order, with its title", () => {
    const files = readdirSync(join(root, "docs/decisions")).filter((file) => /^\d{4}-/.test(file));
    const expected = files.toSorted().map((file) => {
      const [, number, title] = /^# (\d{4}) (.+)$/m.exec(readPage(`docs/decisions/${file}`)) ?? [];
      return `| [${number}](${file}) | ${title} |`;
    });
    const listed = unpadded(readPage("docs/decisions/README.md"))
      .split("\n")
      .filter((line) => line.startsWith("| ["));
    expect(listed).toEqual(expected);
  });
});

/**
 * Snippets fenced as `ts` are compiled, each as a module of its own. A fragment gets what it leaves out from an HTML
 * comment right above its fence, `<!-- with: … -->`, whose lines are put before it.
 */
describe("snippets", () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "confluo-docs-"));
  const snippets = pages.flatMap((page) => snippetsOf(page, readPage(page)));
  const first = snippets.find(({ file }) => file.startsWith("README"));

  beforeAll(() => {
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"), "junction");
    for (const { file, code } of snippets) writeFileSync(join(folder, file), code);
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(projectOf(snippets.map(({ file }) => file))));
  });

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it("are there", () => {
    expect(snippets.length).toBeGreaterThan(10);
  });

  it("type-check against the sources", async () => {
    const { output } = await runNode(["node_modules/typescript/bin/tsc", "-p", folder, "--pretty", "false"]);
    expect(output.replace(/^\S*[\\/]/gm, "")).toBe("");
  }, 60_000);

  it("begin with an example that prints what the README says, as TypeScript", async () => {
    const { output, code } = await runNode([
      "node_modules/tsx/dist/cli.mjs",
      "--tsconfig",
      join(folder, "tsconfig.json"),
      join(folder, first?.file ?? ""),
    ]);
    expect(code).toBe(0);
    expect(output).toMatch(/^receipt: /);
    expect(readPage("README.md")).toContain(`\n${output}\`\`\``);
  });

  // A fragment is compiled only, and so is what stays up or needs a RabbitMQ where the page says.
  const complete = snippets.filter(
    ({ isWhole, code }) => isWhole && !/\.run\(\)|amqps?:\/\//.test(code) && code !== first?.code,
  );

  it("run to their end on the embedded broker, where they are whole programs", async () => {
    expect(complete.length).toBeGreaterThan(7);
    const ends = await mapConcurrently(complete, async ({ file }) => {
      const tsx = "node_modules/tsx/dist/cli.mjs";
      const { code } = await runNode([tsx, "--tsconfig", join(folder, "tsconfig.json"), join(folder, file)]);
      return `${file} ended with ${code}`;
    });
    expect(ends).toEqual(complete.map(({ file }) => `${file} ended with 0`));
  }, 60_000);

  it("begin with an example that is JavaScript as it stands", async () => {
    const file = join(folder, "shop.mjs");
    writeFileSync(file, first?.code ?? "");
    expect(await runNode(["--check", file])).toEqual({ output: "", code: 0 });
  });
});

function readPage(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** Without the spaces that line up the columns of tables. */
function unpadded(text: string): string {
  return text.replace(/^\|.*$/gm, (row) => row.replace(/ {2,}/g, " "));
}

function readPages(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => join(folder, file).replaceAll("\\", "/"))
    .toSorted();
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "");
}

function linksOf(text: string): readonly string[] {
  return [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link ?? "");
}

/** The anchors that GitHub gives to headings. */
function headingsOf(text: string): ReadonlySet<string> {
  const headings = text.replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

interface Snippet {
  /** Named after its page and line, so that a compiler's message says where it is. */
  readonly file: string;
  readonly code: string;
  /** True if the page shows all of it: nothing is put before it. */
  readonly isWhole: boolean;
}

function snippetsOf(page: string, text: string): readonly Snippet[] {
  const name = page.replace(/\.md$/, "").replaceAll("/", "-");
  const found = text.matchAll(/(?:^<!-- with:\n([\s\S]*?)-->\n)?^```ts\n([\s\S]*?)^```$/gm);
  return [...found].map((match) => {
    const [whole, before = "", code = ""] = match;
    const line = text.slice(0, match.index + whole.indexOf("```ts")).split("\n").length;
    // Without an import or export it would be a script and share its names with others.
    return {
      file: `${name}-line-${line}.ts`,
      isWhole: before === "",
      code: `${before}${code}${/^(import|export) /m.test(before + code) ? "" : "export {};\n"}`,
    };
  });
}

import { commandLineDocs } from "./support/cli-docs.ts";

function projectOf(files: readonly string[]): object {
  const src = join(root, "src");
  const declarations = readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".d.ts"))
    .map((file) => join(src, file));
  return {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      noUnusedLocals: false,
      noUnusedParameters: false,
      paths: {
        confluo: [join(src, "index.ts")],
        "confluo/contract": [join(src, "contract", "index.ts")],
        "confluo/testing": [join(src, "testing", "index.ts")],
        "confluo/http": [join(src, "http", "index.ts")],
      },
    },
    files: [...files, ...declarations],
    include: [],
    exclude: [],
  };
}

/** Runs Node in the repository's root; `output` is what went to standard output. */
function runNode(args: readonly string[]): Promise<{ readonly output: string; readonly code: number }> {
  const { CONFLUO_BROKER: _, ...rest } = process.env;
  const env = { ...rest, NODE_ENV: "test" };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd: root, env, timeout: 60_000 }, (error, stdout) => {
      if (error !== null && typeof error.code !== "number") reject(error);
      else resolve({ output: stdout, code: typeof error?.code === "number" ? error.code : 0 });
    });
  });
}
