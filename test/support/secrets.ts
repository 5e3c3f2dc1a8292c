/** Searches whatever a program might print for a secret, in whichever form. */

import { inspect } from "node:util";

const DEEPEST = 12;

/** A secret, and the forms in which it may show. */
export class Secret {
  readonly text: string;
  readonly #forms: readonly string[];

  constructor(text: string) {
    this.text = text;
    const bytes = Buffer.from(text);
    const forms = [
      text,
      encodeURIComponent(text),
      encodeURI(text),
      JSON.stringify(text).slice(1, -1),
      new URL(`amqp://u:${encodeURIComponent(text)}@h`).password,
      bytes.toString("latin1"),
      bytes.toString("hex"),
      bytes.toString("base64"),
      Buffer.from(`\0guest\0${text}`).toString("base64"),
      // The part that no encoding changes.
      /[A-Za-z0-9]{6,}/.exec(text)?.[0] ?? text,
    ];
    this.#forms = [...new Set(forms.map((form) => form.toLowerCase()))];
  }

  /** Whether a text shows it. */
  isIn(text: string): boolean {
    const lower = text.toLowerCase();
    return this.#forms.some((form) => lower.includes(form));
  }

  /** Where a value shows it: printed, as JSON, or in any property within reach, causes and stacks included. */
  findIn(value: unknown): readonly string[] {
    const found: string[] = [];
    if (
      this.isIn(inspect(value, { depth: 10, showHidden: true, maxStringLength: null, maxArrayLength: null }))
    )
      found.push("inspect()");
    if (this.isIn(String(value))) found.push("String()");
    if (this.isIn(asJson(value))) found.push("JSON");
    this.#walk(value, "", found, new Set());
    return found;
  }

  #walk(value: unknown, path: string, found: string[], seen: Set<object>): void {
    if (typeof value === "string" && this.isIn(value)) found.push(path);
    if (typeof value !== "object" || value === null || seen.has(value)) return;
    seen.add(value);
    if (value instanceof Uint8Array) {
      if (this.isIn(Buffer.from(value).toString("latin1"))) found.push(`${path} (bytes)`);
      return;
    }
    const depth = path.split(".").length;
    if (depth > DEEPEST) return;
    for (const key of Reflect.ownKeys(value)) {
      const name = String(key);
      if (this.isIn(name)) found.push(`${path}.${name} (name)`);
      const property = Object.getOwnPropertyDescriptor(value, key);
      this.#walk(property?.value ?? property?.get?.call(value), `${path}.${name}`, found, seen);
    }
  }
}

/** JSON as a logger writes it: errors with their stacks, causes and own fields. */
function asJson(value: unknown): string {
  const seen = new Set<unknown>();
  const text = JSON.stringify(value, (_, part: unknown) => {
    if (typeof part !== "object" || part === null) return part;
    if (seen.has(part)) return "[again]";
    seen.add(part);
    if (!(part instanceof Error)) return part;
    const { name, message, stack, cause } = part;
    return { ...part, name, message, stack, cause };
  });
  return text ?? "";
}
