/** Every command, option, error code and environment variable that the documentation names is there, and so is every byte. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { commandLine } from "./support/cli-docs.ts";

const root = join(import.meta.dirname, "..");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "bench/README.md",
  "examples/README.md",
  ...filesIn("docs", /\.md$/),
];
const textOf = new Map(pages.map((page) => [page, readFileSync(join(root, page), "utf8")]));

/** All code that a page may speak of, without the pages themselves. */
const sources = ["src", "scripts", "dev-broker", "bench/src", "test", "examples"]
  .flatMap((folder) => filesIn(folder, /\.(?:ts|mts|mjs|js|json|txt)$/))
  .filter((file) => file !== "test/docs-names.test.ts" && !file.includes("node_modules"))
  .map((file) => readFileSync(join(root, file), "utf8"))
  .join("\n");
const words = new Set(sources.match(/[A-Za-z_$][\w$]*/g));

describe.each(pages)("%s", (page) => {
  const text = textOf.get(page) ?? "";
  const prose = text.replace(/^```[\s\S]*?^```/gm, "");
  const code = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, inner = ""]) => inner);
  const shell = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, lines = ""]) => lines.split("\n"));

  it("names no error code, no variable and no option that is not there", () => {
    const named = code.flatMap((inner) => inner.match(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g) ?? []);
    const options = code.flatMap((inner) => /^[a-z]+[A-Z]\w*$/.exec(inner) ?? []);
    const members = code.flatMap(
      (inner) => /^[a-z]\w*(?:\.[a-z]\w*)+(?=\(|$)/.exec(inner)?.[0].split(".") ?? [],
    );
    const unknown = [...named, ...options, ...members].filter(
      (name) => !words.has(name) && !foreign.has(name),
    );
    expect([...new Set(unknown)]).toEqual([]);
  });

  it("names no command, and no flag of one, that is not there", () => {
    const lines = [...shell, ...code].flatMap(
      (line) => /^(?:[A-Z_]+=\S+ )*(?:npx )?confluo( [a-z-].*)$/.exec(line)?.[1] ?? [],
    );
    expect(lines.flatMap((line) => complaintsAbout(line))).toEqual([]);
  });

  it("names no script of this package that is not there", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      scripts: Readonly<Record<string, string>>;
    };
    const named = [...shell, ...code].flatMap(
      (line) => /\bnpm (?:--?\S+ )*run (?:--?\S+ )*([\w:]+)/.exec(line)?.[1] ?? [],
    );
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });
});

it("complains of a command and of a flag that are not there", () => {
  expect(complaintsAbout(" lose orders")).not.toEqual([]);
  expect(complaintsAbout(" dead sell")).not.toEqual([]);
  expect(complaintsAbout(" dead ls --nowhere")).not.toEqual([]);
  expect(complaintsAbout(" dead ls orders --json")).toEqual([]);
});

describe("the call in bytes", () => {
  const protocol = textOf.get("docs/protocol.md") ?? "";
  const section = protocol.slice(protocol.indexOf("## A call in bytes"));
  const blocks = [...section.matchAll(/^```text\n([\s\S]*?)^```/gm)].map(([, text = ""]) => text);

  it("consists of whole frames, which contain what stands beside them", () => {
    const bytes = Buffer.concat(
      blocks.flatMap((block) =>
        block.split("\n").map((line) => {
          const [hex = ""] = /^ *[0-9a-f]{2}(?: [0-9a-f]{2})*(?= {2}|$)/.exec(line) ?? [];
          return Buffer.from(hex.replaceAll(" ", ""), "hex");
        }),
      ),
    );
    let frames = 0;
    for (let at = 0; at < bytes.length; frames += 1) {
      const size = bytes.readUInt32BE(at + 3);
      expect(bytes[at + 7 + size]).toBe(0xce);
      at += 8 + size;
    }
    expect(frames).toBe(5);
    const named = blocks.flatMap((block) => [...block.matchAll(/"([^"\n]+)"/g)].map(([, text = ""]) => text));
    expect(named.length).toBeGreaterThan(8);
    for (const text of named) expect(bytes.includes(text)).toBe(true);
  });
});

/** Names that are those of others: RabbitMQ, Node, tools. */
const foreign: ReadonlySet<string> = new Set([
  "isX", // stands for any name
  "qos", // amqplib's and AMQP's
  "return_per_object_metrics", // rabbitmq_prometheus
  "moduleResolution", // TypeScript
  ...["preStop", "onModuleDestroy", "beforeApplicationShutdown", "onApplicationShutdown"], // Kubernetes, NestJS
  ...["bodyLimit", "handleEvent"], // Fastify, NestJS
  ...["mq", "m7g", "medium", "large"], // a size of Amazon MQ
]);

function complaintsAbout(line: string): readonly string[] {
  let command: Command = commandLine();
  const [before = ""] = line.replace(/\s+#.*$/, "").split(" -- ");
  const given = before.trim().split(/\s+/);
  while (given.length > 0) {
    const inner = command.commands.find(
      (each) => each.name() === given[0] || each.aliases().includes(given[0] ?? ""),
    );
    if (inner === undefined) break;
    command = inner;
    given.shift();
  }
  if (command.parent === null) return given[0]?.startsWith("-") ? [] : [`no command: ${line}`];
  if (command.commands.length > 0 && given.length > 0 && !given[0]?.startsWith("-"))
    return [`no command: ${line}`];
  const flags = given.flatMap((word) => /^(--[a-z-]+|-[a-zA-Z]$)/.exec(word)?.[1] ?? []);
  return flags
    .filter((flag) => flag !== "--help" && !isFlagOf(command, flag))
    .map((flag) => `no flag ${flag}: ${line}`);
}

function isFlagOf(command: Command, flag: string): boolean {
  return (
    command.options.some(({ long, short }) => long === flag || short === flag) ||
    (command.parent !== null && isFlagOf(command.parent, flag))
  );
}

function filesIn(folder: string, kind: RegExp): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((file) => join(folder, file).replaceAll("\\", "/"))
    .filter((file) => kind.test(file) && !file.includes("node_modules"))
    .toSorted();
}
