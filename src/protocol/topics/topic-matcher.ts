import { takeBackRequire } from "../../lent-require.ts";
import { QlobberDedup } from "./qlobber-dedup.ts";

takeBackRequire();

/**
 * Matches RabbitMQ's topic patterns: words separated by `.`, `*` for one word, `#` for any number of words. An empty word is a
 * word (`a.*.b` matches `a..b`). The empty key has no words at all: `#` matches it, `*` and `*.#` do not.
 */
export class TopicMatcher<Value extends NonNullable<unknown>> {
  // qlobber has limits of its own. RabbitMQ's only limit is the 255 bytes of a key.
  readonly #qlobber = new QlobberDedup<Value>({
    match_empty_levels: true,
    max_words: Number.POSITIVE_INFINITY,
    max_wildcard_somes: Number.POSITIVE_INFINITY,
  });

  /** Adds a value under a pattern. Adding the same value under the same pattern again has no effect. */
  add(pattern: string, value: Value): void {
    this.#qlobber.add(rooted(pattern), value);
  }

  /** Removes a value from a pattern. */
  remove(pattern: string, value: Value): void {
    this.#qlobber.remove(rooted(pattern), value);
  }

  /** Returns the values whose patterns match, each once. */
  match(key: string): Value[] {
    return [...this.#qlobber.match(rooted(key))];
  }
}

// Adds a common first word, because splitting an empty key gives one empty word, where RabbitMQ sees no word.
function rooted(words: string): string {
  return words === "" ? "^" : `^.${words}`;
}
