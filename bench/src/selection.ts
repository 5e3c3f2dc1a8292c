/** Which cases and variants are meant by `--only`. */

/** The part of a subject that matters here. */
export interface Choosable {
  readonly name: string;
  readonly quick: boolean;
  /** Selected only by a pattern. */
  readonly onDemand?: true;
  readonly variants: readonly string[];
}

/** A subject and those of its variants that were chosen. */
export interface Chosen<S> {
  readonly subject: S;
  readonly variants: readonly string[];
}

/**
 * What the patterns select together, in the order of the subjects. Without patterns: all, or all that are quick, but none
 * that are on demand.
 * @throws for a name that does not exist, with those that do; for a pattern that selects nothing.
 */
export function select<S extends Choosable>(
  subjects: readonly S[],
  patterns: readonly string[],
  quick: boolean,
): readonly Chosen<S>[] {
  if (patterns.length === 0) {
    return subjects
      .filter((subject) => subject.onDemand === undefined && (subject.quick || !quick))
      .map((subject) => ({ subject, variants: subject.variants }));
  }
  const tests = patterns.map((pattern) => compile(pattern, subjects));
  return subjects
    .map((subject) => ({
      subject,
      variants: subject.variants.filter((variant) => tests.some((test) => test(subject.name, variant))),
    }))
    .filter(({ variants }) => variants.length > 0);
}

/** The subjects with those of their variants that are named; a subject without any is left out. */
export function withVariants<S extends Choosable>(
  subjects: readonly S[],
  names: readonly string[],
): readonly S[] {
  return subjects
    .map((subject) => ({ ...subject, variants: subject.variants.filter((name) => names.includes(name)) }))
    .filter(({ variants }) => variants.length > 0);
}

type Test = (subject: string, variant: string) => boolean;

function compile(pattern: string, subjects: readonly Choosable[]): Test {
  const names = subjects.map(({ name }) => name);
  const variants = [...new Set(subjects.flatMap((subject) => subject.variants))];
  const [left = "", right, ...rest] = pattern.split("/");
  if (rest.length > 0)
    throw new Error(`--only ${pattern}: a pattern has one slash at most, as in calls-64/raw.`);
  const isVariant =
    right === undefined && !matchesAll(left, names) && list(left).every((part) => matches(part, variants));
  const ofNames = isVariant ? "*" : left;
  const ofVariants = isVariant ? left : (right ?? "*");
  if (right === undefined && !isVariant)
    requireKnown(pattern, "case or variant", ofNames, [...names, ...variants]);
  requireKnown(pattern, "case", ofNames, names);
  requireKnown(pattern, "variant", ofVariants, variants);
  const test: Test = (subject, variant) => isIn(ofNames, subject) && isIn(ofVariants, variant);
  const some = subjects.some((subject) => subject.variants.some((variant) => test(subject.name, variant)));
  if (!some) {
    const those = subjects.filter(({ name }) => isIn(ofNames, name));
    const shown = those.map((subject) => `${subject.name} has ${subject.variants.join(", ")}`);
    throw new Error(`--only ${pattern} selects nothing: ${shown.join("; ")}.`);
  }
  return test;
}

function list(text: string): readonly string[] {
  return text.split(",").map((part) => part.trim());
}

function isIn(text: string, name: string): boolean {
  return list(text).some((part) => expressionOf(part).test(name));
}

function matches(part: string, names: readonly string[]): boolean {
  return names.some((name) => expressionOf(part).test(name));
}

function matchesAll(text: string, names: readonly string[]): boolean {
  return list(text).every((part) => matches(part, names));
}

function expressionOf(part: string): RegExp {
  const escaped = part.split("*").map((text) => text.replace(/[^\w-]/g, "\\$&"));
  return new RegExp(`^${escaped.join(".*")}$`);
}

function requireKnown(pattern: string, noun: string, text: string, names: readonly string[]): void {
  const unknown = list(text).find((part) => !matches(part, names));
  if (unknown === undefined) return;
  throw new Error(
    `--only ${pattern}: there is no ${noun} ${JSON.stringify(unknown)}. There are: ${names.join(", ")}.`,
  );
}
