import { takeBackRequire } from "../../lent-require.ts";
import { QlobberDedup } from "./qlobber-dedup.ts";

takeBackRequire();

/**
 * RabbitMQ's topic patterns: words split at `.`, `*` for one word, `#` for any number of them. An empty word is a
 * word (`a.*.b` matches `a..b`); the empty key has no words at all, so `#` matches it, `*` and `*.#` do not.
 */
export class TopicMatcher<Value extends NonNullable<unknown>> {
  // The limits are qlobber's own; RabbitMQ has none but the 255 bytes of a key.
  readonly #qlobber = new QlobberDedup<Value>({
    match_empty_levels: true,
    max_words: Number.POSITIVE_INFINITY,
    max_wildcard_somes: Number.POSITIVE_INFINITY,
  });

  /** Adding the same value under the same pattern again does nothing. */
  add(pattern: string, value: Value): void {
    this.#qlobber.add(rooted(pattern), value);
  }

  remove(pattern: string, value: Value): void {
    this.#qlobber.remove(rooted(pattern), value);
  }

  /** The values whose patterns match, each once. */
  match(key: string): Value[] {
    return [...this.#qlobber.match(rooted(key))];
  }
}

// Splitting "" gives one empty word where RabbitMQ sees none. Below a common first word, none can be told from one.
function rooted(words: string): string {
  return words === "" ? "^" : `^.${words}`;
}
