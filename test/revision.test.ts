import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { buildRevision } from "../scripts/revision.mjs";

const root = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "confluo-revisions-"));
const temporary = join(folder, "temporary");

beforeAll(() => {
  mkdirSync(temporary);
  vi.stubEnv("TMPDIR", temporary);
});

afterEach(() => {
  expect(readdirSync(temporary)).toEqual([]);
});

afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

function git(where: string, ...args: readonly string[]): string {
  const settings = ["user.name=Somebody", "user.email=somebody@example.com", "commit.gpgSign=false"];
  const given = ["-C", where, ...settings.flatMap((setting) => ["-c", setting]), ...args];
  return execFileSync("git", given, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
}

/** Makes a repository of two commits, the second with this build script. */
function makeRepository(name: string, script: string): string {
  const where = join(folder, name);
  const write = (file: string, text: string): void => {
    mkdirSync(dirname(join(where, file)), { recursive: true });
    writeFileSync(join(where, file), text);
  };
  write("package.json", JSON.stringify({ name, version: "1.0.0" }));
  git(where, "init", "--quiet");
  git(where, "add", ".");
  git(where, "commit", "--quiet", "--message=first");
  const lock = { name, version: "1.0.0", lockfileVersion: 3, requires: true, packages: {} };
  write("package-lock.json", JSON.stringify({ ...lock, packages: { "": { name, version: "1.0.0" } } }));
  write("scripts/build.mjs", script);
  git(where, "add", ".");
  git(where, "commit", "--quiet", "--message=second");
  return where;
}

describe("buildRevision", () => {
  test("builds a commit outside the checkout, with linked dependencies, and deletes it all", async () => {
    const { folder, commit, remove } = await buildRevision("HEAD");
    try {
      expect(commit).toBe(git(root, "rev-parse", "HEAD"));
      expect(dirname(folder)).toBe(temporary);
      expect(lstatSync(join(folder, "node_modules", "amqplib")).isSymbolicLink()).toBe(true);
      const built = await import(pathToFileURL(join(folder, "dist", "index.js")).href);
      expect(built.Service).toBeTypeOf("function");
    } finally {
      await remove();
    }
    expect(existsSync(join(root, "node_modules", "amqplib"))).toBe(true);
    await remove();
  }, 120_000);

  test("installs what a commit with another package-lock.json asks for", async () => {
    const checkout = makeRepository("other-lock", "process.exitCode = 0;");
    const log = vi.fn();
    mkdirSync(join(checkout, "node_modules", "left-over"), { recursive: true });
    writeFileSync(
      join(checkout, "package-lock.json"),
      JSON.stringify({ packages: { "node_modules/left-over": { version: "1.0.0" } } }),
    );
    const { folder, remove } = await buildRevision("HEAD", { checkout, log });
    expect(log).toHaveBeenCalledExactlyOnceWith(expect.stringMatching(/^Installing dependencies .*npm ci/));
    expect(existsSync(join(folder, "node_modules", "left-over"))).toBe(false);
    await remove();
  }, 60_000);

  test("says what the build said when it fails", async () => {
    const checkout = makeRepository("broken", 'console.error("no such type"); process.exit(3);');
    await expect(buildRevision("HEAD", { checkout, log: () => undefined })).rejects.toThrow(
      "Building HEAD failed with exit code 3.\nno such type",
    );
  }, 60_000);

  test("refuses a revision that does not exist", async () => {
    await expect(buildRevision("no-such-branch")).rejects.toThrow(
      'There is no revision "no-such-branch" in this checkout: name a commit, a tag or a branch.',
    );
    await expect(buildRevision("--all")).rejects.toThrow('There is no revision "--all"');
  });

  test("says how to get a commit that a shallow clone lacks", async () => {
    const whole = makeRepository("whole", "");
    const shallow = join(folder, "shallow");
    git(folder, "clone", "--quiet", "--depth=1", pathToFileURL(whole).href, shallow);
    const lacking = buildRevision(git(whole, "rev-parse", "HEAD~1"), { checkout: shallow });
    await expect(lacking).rejects.toThrow(
      /There is no revision ".+" in this checkout.*git fetch --unshallow/,
    );
  });
});
