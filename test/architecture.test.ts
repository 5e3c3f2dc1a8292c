import { readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, posix } from "node:path";
import { describe, expect, test } from "vitest";

/** A part of `src/` and what its files may import besides each other, type imports included. */
interface Room {
  /** A folder, with a slash at the end, or one file. */
  readonly path: string;
  readonly mayImport: readonly string[];
  /** Packages it may import. */
  readonly packages?: readonly string[];
  /** Node's modules it may import; `all` unless told otherwise. */
  readonly builtins?: readonly string[];
  /** Only `import type` and `export type`. */
  readonly typesOnly?: true;
}

const face = ["index.ts", "errors.ts", "contract/index.ts"];
/** What waits, and what it waits with. */
const ground = ["errors.ts", "async/"];
/** What both ways of a message need: from a verb to the broker, and from there to a handler. */
const bothWays = [
  ...ground,
  "identity.ts",
  "protocol/",
  "contract/",
  "retry/",
  "options/",
  "logging/",
  "validation/",
  "statistics/",
  "api/",
  "diagnostics.ts",
  "transport/transport.ts",
  "transport/session-slot.ts",
];
const besideServices = [
  ...ground,
  "options/",
  "protocol/",
  "transport/short-session.ts",
  "transport/amqp-client.ts",
];

/** The first room that has a file is its room. */
const rooms: readonly Room[] = [
  { path: "errors.ts", mayImport: [], builtins: [] },
  { path: "causes.ts", mayImport: ["errors.ts"], builtins: [] },
  { path: "lent-require.ts", mayImport: [], builtins: [] },
  { path: "identity.ts", mayImport: [], builtins: ["node:crypto"] },
  { path: "async/", mayImport: ["errors.ts"], builtins: ["node:async_hooks"] },
  {
    path: "protocol/",
    mayImport: ["errors.ts", "lent-require.ts"],
    packages: ["qlobber"],
    builtins: ["node:buffer"],
  },
  { path: "contract/", mayImport: ["errors.ts"], packages: ["@standard-schema/spec"], builtins: [] },
  { path: "retry/", mayImport: ["errors.ts", "protocol/"], builtins: [] },
  { path: "options/", mayImport: [...ground, "protocol/", "retry/"], builtins: [] },
  { path: "validation/", mayImport: [...ground, "contract/", "protocol/"], builtins: ["node:util"] },
  { path: "transport/transport.ts", mayImport: [...ground, "protocol/", "retry/"], typesOnly: true },
  { path: "transport/amqp-client.ts", mayImport: [...ground, "protocol/", "retry/"], typesOnly: true },
  { path: "transport/short-session.ts", mayImport: [...ground, "transport/amqp-client.ts"], builtins: [] },
  {
    path: "transport/memory/",
    mayImport: [...ground, "transport/amqp-client.ts", "transport/transport.ts", "protocol/"],
    packages: ["qlobber"],
  },
  {
    path: "transport/rabbitmq/",
    mayImport: [
      ...ground,
      "transport/amqp-client.ts",
      "transport/transport.ts",
      "protocol/",
      "lent-require.ts",
    ],
    packages: ["amqplib"],
  },
  // What a service has at its broker: its connection, its queues, what they deliver, and what travels together.
  {
    path: "transport/",
    mayImport: [
      ...ground,
      "causes.ts",
      "transport/transport.ts",
      "transport/amqp-client.ts",
      "protocol/",
      "retry/",
    ],
  },
  {
    path: "logging/",
    mayImport: [...ground, "causes.ts", "protocol/", "transport/transport.ts"],
    builtins: [],
  },
  { path: "api/", mayImport: ["errors.ts", "contract/", "protocol/", "options/"], builtins: [] },
  {
    path: "diagnostics.ts",
    mayImport: ["async/", "protocol/", "api/", "transport/transport.ts"],
    builtins: ["node:diagnostics_channel"],
  },
  { path: "statistics/", mayImport: ["errors.ts", "protocol/"], builtins: [] },
  {
    path: "registry/",
    mayImport: ["errors.ts", "protocol/", "contract/", "retry/", "api/", "statistics/"],
    builtins: [],
  },
  { path: "sending/", mayImport: bothWays, builtins: ["node:crypto"] },
  { path: "handling/", mayImport: [...bothWays, "registry/"], builtins: ["node:crypto"] },
  { path: "lifecycle/", mayImport: [...bothWays, "registry/", "sending/", "handling/"], builtins: [] },
  // It needs no service, only what services tell: so a service can start it.
  {
    path: "telemetry/",
    mayImport: ["diagnostics.ts", "identity.ts", "errors.ts"],
    packages: ["@opentelemetry/api"],
    builtins: ["node:diagnostics_channel"],
  },
  // Beside services: they need a broker, and no service.
  { path: "dead-letters/", mayImport: besideServices },
  { path: "discovery/", mayImport: [...besideServices, "statistics/"] },
  {
    path: "broker/",
    mayImport: [
      ...ground,
      "identity.ts",
      "logging/",
      "options/",
      "protocol/",
      "transport/",
      "dead-letters/",
      "discovery/",
    ],
    builtins: ["node:fs"],
  },
  {
    path: "service/",
    mayImport: [
      ...bothWays,
      "registry/",
      "sending/",
      "handling/",
      "lifecycle/",
      "broker/",
      "telemetry/start.ts",
    ],
    builtins: ["node:os"],
  },
  {
    path: "index.ts",
    mayImport: [
      "service/",
      "broker/",
      "errors.ts",
      "api/",
      "contract/",
      "diagnostics.ts",
      "logging/",
      "options/",
      "protocol/",
      "retry/",
      "statistics/",
    ],
    builtins: [],
  },
  // The edges use the public face; if one needs more, the face is lacking.
  { path: "testing/", mayImport: face },
  { path: "http/", mayImport: face },
  // Which services a tool knows by their names; where those are kept is the tool's.
  { path: "known/", mayImport: [...face, "protocol/address.ts"], builtins: [] },
  {
    path: "cli/",
    mayImport: [...face, "known/", "http/index.ts", "http/listen.ts"],
    packages: ["commander", "#dev-broker"],
  },
];

const maxLines = 400;
const maxFiles = 12;
/** Flat, since each command is a file. */
const maxCliFiles = 16;
const emptyNames = /^(utils?|helpers?|common|lib|managers?|types)$/;

interface Import {
  /** As written. */
  readonly specifier: string;
  readonly typeOnly: boolean;
}

interface SourceFile {
  /** Relative to `src/`. */
  readonly path: string;
  readonly text: string;
  readonly code: string;
  readonly imports: readonly Import[];
}

const sources = readSources(join(import.meta.dirname, "..", "src"));
const byPath = new Map(sources.map((source) => [source.path, source]));

describe("the scanner of imports", () => {
  test("finds every form of import and none in comments, strings or templates", () => {
    const code = `
      import a, { b } from "./one.ts";
      import type { C } from "./two.ts";
      import {
        d,
        type E,
      } from "./three.ts";
      import "./four.ts";
      export { f } from "./five.ts";
      export type { G } from "./six.ts";
      export * from "./seven.ts";
      export * as h from "./eight.ts";
      const i = await import("./nine.ts");
      type J = import("./ten.ts").J;
      // import k from "./no.ts";
      /** import l from "./no.ts"; */
      const url = "http://example"; /* import m from "./no.ts"; */
      const text = \`
        import n from "./no.ts";
      \`;
      const important = "import";
      export const from = "./no.ts";
      const quoted = "await import('./no.ts')";
    `.replace(/^ {6}/gm, "");
    const found = findImports(stripComments(code)).map(
      ({ specifier, typeOnly }) => specifier + (typeOnly ? " type" : ""),
    );
    expect(found).toEqual([
      "./one.ts",
      "./two.ts type",
      "./three.ts",
      "./four.ts",
      "./five.ts",
      "./six.ts type",
      "./seven.ts",
      "./eight.ts",
      "./nine.ts",
      "./ten.ts type",
    ]);
  });
});

describe("the scanner of comments", () => {
  test("finds the first words of each comment, and of lines that belong together only those of the first", () => {
    const code = [
      "/** One line. */",
      "/**",
      " * Several,",
      " * of which this is the second.",
      " */",
      "const url = 'http://none'; // Behind code.",
      "// Two lines,",
      "// together.",
      "let a;",
      "  // Alone.",
    ].join("\n");
    expect(openingsOf(code)).toEqual(["One line.", "Several,", "Behind code.", "Two lines,", "Alone."]);
  });
});

describe("src/", () => {
  test("has a room for every file", () => {
    const strays = sources.filter((source) => !isTest(source.path) && findRoom(source.path) === undefined);
    expect(
      strays.map(({ path }) => `${path}: belongs to no room; add one to the table in this test`),
    ).toEqual([]);
  });

  test("imports downward only", () => {
    expect(checkEachImport(checkLayer)).toEqual([]);
  });

  test("imports packages and Node's modules only where they belong", () => {
    expect(checkEachImport(checkExternal)).toEqual([]);
  });

  test("imports files that exist, by their full name", () => {
    const missing = sources.flatMap((source) =>
      source.imports
        .filter(({ specifier }) => specifier.startsWith(".") && !byPath.has(resolve(source, specifier)))
        .map(({ specifier }) => `${source.path} imports ${specifier}: there is no such file in src/`),
    );
    expect(missing).toEqual([]);
  });

  test("has no import cycles, of types neither", () => {
    expect(findCycles()).toEqual([]);
  });

  test("exports by name, never everything", () => {
    const found = sources.filter(({ code }) => /^\s*export\s+(type\s+)?\*/m.test(code));
    expect(found.map(({ path }) => `${path}: "export *" hides what is public; name the exports`)).toEqual([]);
  });

  test("has an index that only exports", () => {
    const statement = /export\s+(type\s+)?\{[^}]*\}\s*from\s*"[^"]+";?/g;
    const rest = byPath.get("index.ts")?.code.replace(statement, "").trim();
    expect(rest, "index.ts: has more in it than named exports from other files").toBe("");
  });

  test("has names that say what is in a file", () => {
    const found = sources.flatMap(({ path }) =>
      path
        .split("/")
        .map((part) => part.replace(/\..*$/, ""))
        .filter((part) => emptyNames.test(part))
        .map((part) => `${path}: "${part}" says nothing; name the file for its one job`),
    );
    expect(found).toEqual([]);
  });

  test(`has no folder of more than ${maxFiles} files, tests aside`, () => {
    const counts = new Map<string, number>();
    for (const { path } of sources) {
      const folder = dirname(path);
      if (/\.(test|test-d|test-support)\.ts$/.test(path) || folder.startsWith("testing/conformance"))
        continue;
      counts.set(folder, (counts.get(folder) ?? 0) + 1);
    }
    const found = [...counts].filter(
      ([folder, count]) => count > (/^cli(\/commands)?$/.test(folder) ? maxCliFiles : maxFiles),
    );
    expect(found.map(([folder, count]) => `${folder}: has ${count} files; it asks to be two rooms`)).toEqual(
      [],
    );
  });

  test("has comments that name their subject", () => {
    const found = sources
      .filter(({ path }) => !isTest(path) && !path.startsWith("testing/conformance"))
      .flatMap(({ path, text }) =>
        openingsOf(text)
          .filter((opening) => subjectless.test(opening))
          .map((opening) => `${path}: "${opening}": open with a verb, or with the noun that it is about`),
      );
    expect(found).toEqual([]);
  });

  test(`has no file of more than ${maxLines} lines`, () => {
    const found = sources
      .map(({ path, text }) => ({ path, lines: text.trimEnd().split("\n").length }))
      .filter(({ lines }) => lines > maxLines)
      .map(
        ({ path, lines }) => `${path}: has ${lines} lines, the limit is ${maxLines}; it asks to be two files`,
      );
    expect(found).toEqual([]);
  });
});

type Check = (source: SourceFile, imported: Import, room: Room) => string | undefined;

function checkEachImport(check: Check): string[] {
  return sources
    .filter(({ path }) => !isTest(path))
    .flatMap((source) => {
      const room = findRoom(source.path);
      if (room === undefined) return [];
      return source.imports.flatMap((imported) => {
        const problem = check(source, imported, room);
        return problem === undefined ? [] : [`${source.path} imports ${imported.specifier}: ${problem}`];
      });
    });
}

function checkLayer(source: SourceFile, imported: Import, room: Room): string | undefined {
  if (!imported.specifier.startsWith(".")) return undefined;
  const target = resolve(source, imported.specifier);
  if (room.typesOnly === true && !imported.typeOnly) return `${room.path} may import types only`;
  if (isIn(target, room.path) || room.mayImport.some((path) => isIn(target, path))) return undefined;
  return `${room.path} may import ${room.mayImport.join(", ") || "nothing"}`;
}

function checkExternal(_: SourceFile, { specifier }: Import, room: Room): string | undefined {
  if (specifier.startsWith(".")) return undefined;
  if (isBuiltin(specifier)) {
    if (!specifier.startsWith("node:")) return `write node:${specifier}`;
    if (room.builtins === undefined || room.builtins.includes(specifier)) return undefined;
    return `${room.path} may import ${room.builtins.join(", ") || "none"} of Node's modules`;
  }
  const name = /^(@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
  if (room.packages?.includes(name)) return undefined;
  return `${room.path} may import ${room.packages?.join(", ") ?? "no"} packages`;
}

function findCycles(): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const seenAt = trail.indexOf(path);
    if (seenAt !== -1) {
      cycles.push([...trail.slice(seenAt), path].join(" -> "));
      return;
    }
    if (done.has(path)) return;
    const source = byPath.get(path);
    for (const { specifier } of source?.imports ?? []) {
      if (source !== undefined && specifier.startsWith("."))
        visit(resolve(source, specifier), [...trail, path]);
    }
    done.add(path);
  };
  for (const { path } of sources) visit(path, []);
  return cycles;
}

function findRoom(path: string): Room | undefined {
  return rooms.find((room) => isIn(path, room.path));
}

function isIn(path: string, place: string): boolean {
  return place.endsWith("/") ? path.startsWith(place) : path === place;
}

/** Openings that leave the reader to guess what is spoken of. */
const subjectless =
  /^(?:What|Whatever|Who|Whoever|Whom|Whether|Those|These that|One that|One who|The ones|All that|Nobody|Its like)\b/;

function openingsOf(text: string): string[] {
  const openings: string[] = [];
  let isInside = false;
  for (const line of text.split("\n")) {
    const [, mark = "", words = ""] = /(?:^|\s)(\/\*\*?|\/\/)(?:\s+(.*?)(?:\s*\*\/)?)?$/.exec(line) ?? [];
    const isOnItsOwn = /^\s*\/\//.test(line);
    if (mark.startsWith("/*")) openings.push(words);
    else if (mark === "//" && !(isInside && isOnItsOwn)) openings.push(words);
    else if (openings.at(-1) === "") openings[openings.length - 1] = line.replace(/^\s*\*\s?/, "");
    isInside = isOnItsOwn;
  }
  return openings;
}

function isTest(path: string): boolean {
  return /\.test(-d)?\.ts$/.test(path);
}

/** @returns a path relative to `src/` */
function resolve(source: SourceFile, specifier: string): string {
  return posix.join(dirname(source.path), specifier);
}

function readSources(folder: string): SourceFile[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => path.replaceAll("\\", "/"))
    .sort()
    .map((path) => {
      const text = readFileSync(join(folder, path), "utf8");
      const code = stripComments(text);
      return { path, text, code, imports: findImports(code) };
    });
}

/** Blanks comments, templates, and strings that nothing is imported from. */
function stripComments(text: string): string {
  const tokens =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`/g;
  return text.replace(tokens, (token: string, offset: number) => {
    if (token.startsWith("/")) return "";
    const isSpecifier = /\b(from|import|import\()\s*$/.test(text.slice(Math.max(0, offset - 40), offset));
    return isSpecifier && !token.startsWith("`") ? token : '""';
  });
}

function findImports(code: string): Import[] {
  // Statements start a line, as the formatter has it; an `import()` may be anywhere, as a value or a type.
  const statement =
    /^(?:import|export)\s+(?<type>type\s+)?(?:[\w$*\s{},]+?\sfrom\s*)?["'](?<from>[^"'\n]+)["']/;
  const call = /\bimport\(\s*["'](?<called>[^"'\n]+)["']\s*\)(?<typeName>\.[A-Z])?/;
  const found = code.matchAll(new RegExp(`${statement.source}|${call.source}`, "gm"));
  return [...found].map(({ groups = {} }) => ({
    specifier: groups.from ?? groups.called ?? "",
    typeOnly: groups.type !== undefined || groups.typeName !== undefined,
  }));
}
