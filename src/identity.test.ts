import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { CONFLUO_VERSION, newInstanceId } from "./identity.ts";

it("knows the version of this package", () => {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  expect(CONFLUO_VERSION).toBe((JSON.parse(text) as { version: string }).version);
});

it("gives every instance an identity of its own", () => {
  const instances = Array.from({ length: 100 }, newInstanceId);
  expect(new Set(instances).size).toBe(100);
  expect(instances.every((id) => /^[\w-]{12}$/.test(id))).toBe(true);
});
