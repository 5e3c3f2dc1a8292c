import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { findPromtool } from "../scripts/promtool.mjs";

const folder = mkdtempSync(join(tmpdir(), "confluo-promtool-"));
const elsewhere = mkdtempSync(join(tmpdir(), "confluo-promtool-"));

afterAll(() => {
  for (const each of [folder, elsewhere]) rmSync(each, { recursive: true, force: true });
});

/** A program that says its name, its arguments and where it runs. */
function addProgram(place: string, name: string): string {
  const file = join(place, name);
  const script = `#!${process.execPath}\nconsole.log(${JSON.stringify(name)}, process.argv.slice(2).join(" "), process.cwd());\n`;
  writeFileSync(file, script);
  chmodSync(file, 0o755);
  return file;
}

it("says what to do where there is no promtool", async () => {
  const found = findPromtool({ env: { PATH: folder } });
  await expect(found).rejects.toThrow("sudo apt-get install prometheus");
  await expect(found).rejects.toThrow("CONFLUO_TEST_PROMTOOL=/path/to/promtool");
  await expect(found).rejects.toThrow("there is no docker command");
  await expect(findPromtool({ env: { CONFLUO_TEST_PROMTOOL: `${folder}/none` } })).rejects.toThrow(
    "which is no program",
  );
});

it("prefers the one that is named to an installed one, and that to Docker", async () => {
  const env = { PATH: folder };
  const said = async (given: NodeJS.ProcessEnv): Promise<string> =>
    (await (await findPromtool({ env: given }))(elsewhere, ["check", "x"])).output;
  addProgram(folder, "docker");
  expect(await said(env)).toMatch(
    new RegExp(
      `^docker run --rm .*--volume=${elsewhere}:/rules:ro .*--entrypoint=promtool prom/prometheus:\\S+ check x `,
    ),
  );
  addProgram(folder, "promtool");
  expect(await said(env)).toBe(`promtool check x ${elsewhere}\n`);
  const named = addProgram(elsewhere, "mine");
  expect(await said({ ...env, CONFLUO_TEST_PROMTOOL: named })).toBe(`mine check x ${elsewhere}\n`);
});
