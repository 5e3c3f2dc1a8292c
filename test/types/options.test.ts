/**
 * Compares what callers may pass with one rule: an optional property takes `undefined`, which means that it is left out.
 * Without that, `{ signal: maybe }` does not compile under exactOptionalPropertyTypes.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const source = join(import.meta.dirname, "..", "..", "src");
const optionsOf =
  /^export interface (\w*(?:Options|Definition)|ErrorDetails|ErrorDeclaration)\b[^{]*\{(.*?)^\}/gms;
const optional = /^ +readonly \w+\?: [^;{}]+;|^ +\}(?: \| undefined)?;$/gm;

it("every property of public options that may be left out may be undefined", () => {
  const found = readdirSync(source, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !/^cli|^protocol|test(-d)?\.ts$|memory/.test(file))
    .flatMap((file) => [...readFileSync(join(source, file), "utf8").matchAll(optionsOf)]);
  expect(found.map(([, name]) => name)).toEqual(
    expect.arrayContaining([
      "BrokerOptions",
      "ServiceOptions",
      "CallOptions",
      "CommandDefinition",
      "ReplyOptions",
      "TlsOptions",
    ]),
  );
  const wrong = found.flatMap(([, name, members = ""]) =>
    [...members.matchAll(optional)]
      .map(([property]) => property.trim())
      .filter((property) => !/undefined;$|: unknown;$/.test(property))
      .map((property) => `${name}: ${property}`),
  );
  expect(wrong).toEqual([]);
});
