import fc from "fast-check";
import { expect, test } from "vitest";
import { TopicMatcher } from "./topic-matcher.ts";

function matches(pattern: string, key: string): boolean {
  const matcher = new TopicMatcher<string>();
  matcher.add(pattern, "value");
  return matcher.match(key).length === 1;
}

test.each([
  ["a.b", "a.b", true],
  ["a.b", "a.b.c", false],
  ["a.*", "a.b", true],
  ["a.*", "a", false],
  ["a.*", "a.b.c", false],
  ["a.#", "a", true],
  ["a.#", "a.b.c", true],
  ["#.b", "b", true],
  ["a.#.z", "a.z", true],
  ["a.*.b", "a..b", true],
  ["*", ".", false],
  ["*.*", ".", true],
  ["a.", "a.", true],
  ["a.*", "a.", true],
  ["a", "a.", false],
  ["#.#.#.#.#", "a", true],
  ["", "", true],
  ["#", "", true],
  ["#.#", "", true],
  ["*", "", false],
  ["*.#", "", false],
  ["#.*", "", false],
  ["", "a", false],
  ["*", "*", true],
  ["a.#", "a.#", true],
])("pattern %j and key %j: %j", (pattern, key, expected) => {
  expect(matches(pattern, key)).toBe(expected);
});

test("agrees with a plain statement of the rules", () => {
  const word = fc.constantFrom("", "a", "b");
  const pattern = fc.array(fc.oneof(word, fc.constantFrom("*", "#")), { maxLength: 5 });
  fc.assert(
    fc.property(pattern, fc.array(word, { maxLength: 5 }), (patternWords, keyWords) => {
      const [patternText, key] = [patternWords.join("."), keyWords.join(".")];
      expect(matches(patternText, key)).toBe(follows(wordsOf(patternText), wordsOf(key)));
    }),
  );
});

function wordsOf(text: string): string[] {
  return text === "" ? [] : text.split(".");
}

function follows([head, ...pattern]: readonly string[], words: readonly string[]): boolean {
  if (head === undefined) return words.length === 0;
  if (head === "#") return [...words, ""].some((_, skipped) => follows(pattern, words.slice(skipped)));
  return words.length > 0 && (head === "*" || head === words[0]) && follows(pattern, words.slice(1));
}

test("gives a value once, however many of its patterns match", () => {
  const matcher = new TopicMatcher<string>();
  for (const pattern of ["a.b", "a.*", "#", "a.#"]) matcher.add(pattern, "one");
  matcher.add("#", "other");
  expect(matcher.match("a.b").sort()).toEqual(["one", "other"]);
});

test("removes one pattern of a value and keeps the others", () => {
  const matcher = new TopicMatcher<string>();
  matcher.add("a.*", "value");
  matcher.add("a.b", "value");
  matcher.remove("a.b", "value");
  matcher.remove("never.added", "value");
  expect(matcher.match("a.b")).toEqual(["value"]);
  matcher.remove("a.*", "value");
  expect(matcher.match("a.b")).toEqual([]);
});

test("hands out lists of its own: a caller may change them", () => {
  const matcher = new TopicMatcher<string>();
  matcher.add("a", "value");
  matcher.match("a").pop();
  expect(matcher.match("a")).toEqual(["value"]);
});

test("takes keys and patterns of as many words as 255 bytes hold", () => {
  const key = ".".repeat(255);
  expect(matches(key, key)).toBe(true);
  expect(matches("#", key)).toBe(true);
});
