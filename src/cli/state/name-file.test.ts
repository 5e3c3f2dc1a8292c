import { execFile } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MOST_NAMES } from "../../known/known-services.ts";
import { MOST_FILES, NameFile } from "./name-file.ts";

const isWindows = process.platform === "win32";
const nobody = 65_534;
const root = join(import.meta.dirname, "..", "..", "..");
let home: string;
let folder: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "confluo-names-"));
  folder = join(home, "confluo", "services");
});

afterEach(() => rmSync(home, { recursive: true, force: true }));

const fileNamed = (n: number): string => join(folder, `${n.toString(16).padStart(32, "0")}.json`);
const namesIn = (path: string): readonly string[] =>
  (JSON.parse(readFileSync(path, "utf8")) as { readonly services: readonly string[] }).services;

describe("a file of names", () => {
  it("keeps what was seen, and forgets what is gone, for whoever opens it next", () => {
    const file = new NameFile(fileNamed(1));
    expect(file.read()).toEqual([]);
    file.write({ seen: ["mail", "stock"] });
    expect(new NameFile(fileNamed(1)).read()).toEqual(["mail", "stock"]);
    file.write({ seen: ["mail"], gone: ["stock"] });
    expect(new NameFile(fileNamed(1)).read()).toEqual(["mail"]);
    expect(file.isKept).toBe(true);
    expect(new NameFile(fileNamed(2)).read()).toEqual([]);
  });

  it("is not there while there is nothing in it", () => {
    const file = new NameFile(fileNamed(1));
    file.write({ gone: ["mail"] });
    expect(existsSync(folder)).toBe(false);
    file.write({ seen: ["mail"] });
    file.write({ gone: ["mail"] });
    expect(readdirSync(folder)).toEqual([]);
  });

  it.skipIf(isWindows)("is its user's alone", () => {
    new NameFile(fileNamed(1)).write({ seen: ["mail"] });
    const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);
    expect(modeOf(fileNamed(1))).toBe("600");
    expect(modeOf(folder)).toBe("700");
    expect(modeOf(join(home, "confluo"))).toBe("700");
  });

  it("is not written anew if nothing changes, and its time says that it was of use", () => {
    const file = new NameFile(fileNamed(1));
    file.write({ seen: ["mail"] });
    const { ino } = statSync(fileNamed(1));
    utimesSync(fileNamed(1), 1_000, 1_000);
    file.write({ seen: ["mail"] });
    expect(statSync(fileNamed(1)).ino).toBe(ino);
    expect(statSync(fileNamed(1)).mtimeMs).toBeGreaterThan(Date.now() - 60_000);
  });

  it.each([
    ["no JSON", "mail, stock"],
    ["cut short", '{"version":1,"services":["ma'],
    ["empty", ""],
    ["somebody else's", '{"mail":"2020-01-01"}'],
    ["of another version", '{"version":2,"services":["mail"]}'],
    ["a list", '["mail"]'],
    ["null", "null"],
    ["too large", `{"version":1,"services":["mail"],"more":"${"x".repeat(1_048_576)}"}`],
  ])("counts as empty if it is %s, and is replaced", (_, text) => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(fileNamed(1), text);
    const file = new NameFile(fileNamed(1));
    expect(file.read()).toEqual([]);
    file.write({ seen: ["stock"] });
    expect(namesIn(fileNamed(1))).toEqual(["stock"]);
  });

  it("keeps no more than names of services, and not too many of them", () => {
    mkdirSync(folder, { recursive: true });
    const services = [
      "../../etc",
      "mail",
      7,
      "\u001b[2J",
      ...Array.from({ length: MOST_NAMES }, (_, n) => `s${n}`),
    ];
    writeFileSync(fileNamed(1), JSON.stringify({ version: 1, services }));
    const file = new NameFile(fileNamed(1));
    expect(file.read()).toHaveLength(MOST_NAMES);
    file.write({ seen: ["stock"] });
    expect(namesIn(fileNamed(1))).toHaveLength(MOST_NAMES);
    expect(namesIn(fileNamed(1)).at(-1)).toBe("stock");
    expect(namesIn(fileNamed(1))).not.toContain("mail");
  });

  it.skipIf(isWindows)("is replaced if it is a link, and what that leads to is left alone", () => {
    mkdirSync(folder, { recursive: true });
    const other = join(home, "other");
    writeFileSync(other, '{"version":1,"services":["mail"]}');
    symlinkSync(other, fileNamed(1));
    const file = new NameFile(fileNamed(1));
    expect(file.read()).toEqual([]);
    file.write({ seen: ["stock"] });
    expect(readFileSync(other, "utf8")).toContain("mail");
    expect(namesIn(fileNamed(1))).toEqual(["stock"]);
  });

  it.skipIf(isWindows)("is replaced if it may not be read", () => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(fileNamed(1), '{"version":1,"services":["mail"]}', { mode: 0o000 });
    asOrdinaryUser(() => {
      const file = new NameFile(fileNamed(1));
      expect(file.read()).toEqual([]);
      file.write({ seen: ["stock"] });
      expect(namesIn(fileNamed(1))).toEqual(["stock"]);
    });
  });

  it("says that nothing is kept where it cannot be written, and throws nothing", () => {
    writeFileSync(join(home, "confluo"), "a file where the folder would be");
    const file = new NameFile(fileNamed(1));
    expect(file.read()).toEqual([]);
    file.write({ seen: ["mail"] });
    expect(file.isKept).toBe(false);
    rmSync(join(home, "confluo"));
    file.write({ seen: ["mail"] });
    expect(file.isKept).toBe(true);
    // A folder in the place of the file.
    mkdirSync(fileNamed(2));
    const blocked = new NameFile(fileNamed(2));
    blocked.write({ seen: ["mail"] });
    expect(blocked.isKept).toBe(false);
    expect(readdirSync(folder)).toHaveLength(2);
  });

  it.skipIf(isWindows)("can be read in a folder that cannot be written", () => {
    new NameFile(fileNamed(1)).write({ seen: ["mail"] });
    chmodSync(folder, 0o500);
    asOrdinaryUser(() => {
      const file = new NameFile(fileNamed(1));
      expect(file.read()).toEqual(["mail"]);
      file.write({ seen: ["mail"] });
      expect(file.isKept).toBe(true);
      file.write({ seen: ["stock"] });
      expect(file.isKept).toBe(false);
    });
    chmodSync(folder, 0o700);
    expect(readdirSync(folder)).toHaveLength(1);
  });
});

describe("a folder of such files", () => {
  it("loses the one that was of no use for longest when there are too many, and nothing that is not its own", () => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "notes.json"), "mine");
    for (let n = 0; n < MOST_FILES; n += 1) {
      new NameFile(fileNamed(n)).write({ seen: ["mail"] });
      utimesSync(fileNamed(n), 1_000 + n, 1_000 + n);
    }
    new NameFile(fileNamed(0)).write({ seen: ["mail"] });
    new NameFile(fileNamed(MOST_FILES)).write({ seen: ["mail"] });
    expect(readdirSync(folder)).toHaveLength(MOST_FILES + 1);
    expect(existsSync(fileNamed(1))).toBe(false);
    expect(existsSync(fileNamed(0))).toBe(true);
    expect(existsSync(fileNamed(MOST_FILES))).toBe(true);
    expect(readFileSync(join(folder, "notes.json"), "utf8")).toBe("mine");
  });

  it("loses what a process that was killed left half done", () => {
    mkdirSync(folder, { recursive: true });
    const [old, young] = ["1-a", "2-b"].map((end) => `${fileNamed(1)}.${end}.tmp`) as [string, string];
    for (const path of [old, young]) writeFileSync(path, "{");
    utimesSync(old, 1_000, 1_000);
    new NameFile(fileNamed(1)).write({ seen: ["mail"] });
    expect(existsSync(old)).toBe(false);
    expect(existsSync(young)).toBe(true);
  });
});

describe("two writers of one file", () => {
  it("lose nothing of each other when one writes between the other's reading and writing", () => {
    const [one, other] = [new NameFile(fileNamed(1)), new NameFile(fileNamed(1))];
    one.write({ seen: ["old"] });
    expect([one.read(), other.read()]).toEqual([["old"], ["old"]]);
    one.write({ seen: ["mail"], gone: ["old"] });
    other.write({ seen: ["stock"] });
    expect(namesIn(fileNamed(1))).toEqual(["mail", "stock"]);
  });

  it("leave a whole file at every moment, and no other", { timeout: 60_000 }, async () => {
    const program = join(home, "writer.mjs");
    const module = JSON.stringify(new URL("name-file.ts", import.meta.url).href);
    writeFileSync(
      program,
      `import { NameFile } from ${module};
      const [path, name] = process.argv.slice(2);
      const file = new NameFile(path);
      for (let n = 0; n < 200; n += 1) file.write({ seen: [name + n % 50], gone: [name + (n + 25) % 50] });
      for (let n = 0; n < 5; n += 1) file.write({ seen: [name + n] });
      if (!file.isKept) process.exit(1);`,
    );
    const run = promisify(execFile);
    let isOver = false;
    const both = Promise.all(
      ["a", "b"].map((name) =>
        run(process.execPath, ["--import", "tsx", program, fileNamed(1), name], { cwd: root }),
      ),
    ).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      if (existsSync(fileNamed(1))) expect(namesIn(fileNamed(1)).length).toBeGreaterThan(0);
      await wait(2);
    }
    await both;
    expect(readdirSync(folder)).toHaveLength(1);
    const names = namesIn(fileNamed(1));
    expect(names.filter((name) => /^[ab]\d+$/.test(name))).toEqual(names);
  });
});

/** Runs what depends on rights, which root has all of: as nobody then, to whom the files are given. */
function asOrdinaryUser(work: () => void): void {
  if (process.geteuid?.() !== 0) {
    work();
    return;
  }
  for (const path of [
    home,
    ...readdirSync(home, { recursive: true, encoding: "utf8" }).map((name) => join(home, name)),
  ])
    chownSync(path, nobody, nobody);
  process.seteuid?.(nobody);
  try {
    work();
  } finally {
    process.seteuid?.(0);
  }
}
