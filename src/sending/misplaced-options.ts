/** Options that were given in the place of the body: sent as the body, they would have no effect and say nothing. */

import type { AnySchema } from "../contract/schema.ts";
import type { Logger } from "../logging/logger.ts";

/** Warns once of each place where a body looks like options. */
export class MisplacedOptions {
  readonly #logger: Pick<Logger, "warn">;
  readonly #told = new Set<string>();

  constructor(logger: Pick<Logger, "warn">) {
    this.#logger = logger;
  }

  /** Looks at a body that was given without options; a body that a schema checks is what it should be. */
  look(
    verb: "call" | "send" | "publish",
    target: string,
    body: unknown,
    schema: AnySchema | undefined,
  ): void {
    if (schema !== undefined || typeof body !== "object" || body === null || !looksLikeOptions(body)) return;
    const place = `${verb} ${target}`;
    if (this.#told.has(place) || this.#told.size === MOST_TOLD) return;
    this.#told.add(place);
    const names = Object.keys(body).join(", ");
    const message = `A body for ${target} has only names of options (${names}), and ${verb} takes options after the body. If it is meant as the body, give {} as the options.`;
    this.#logger.warn({ verb, target }, message);
  }
}

// Paths may hold ids: without a bound, there would be no end of places.
const MOST_TOLD = 100;

// Most bodies are told by their first field; one of bytes has a field for each.
function looksLikeOptions(body: object): boolean {
  if (Array.isArray(body) || ArrayBuffer.isView(body)) return false;
  let isOption = false;
  for (const name in body) {
    isOption = Object.hasOwn(optionValues, name) && optionValues[name]?.((body as Body)[name]) === true;
    if (!isOption) return false;
  }
  return isOption;
}

type Body = Readonly<Record<string, unknown>>;

const isNumber = (value: unknown): boolean => typeof value === "number";
const isTable = (value: unknown): boolean =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const optionValues: Readonly<Record<string, (value: unknown) => boolean>> = {
  timeoutMs: isNumber,
  expiresMs: isNumber,
  signal: (value) => value instanceof AbortSignal,
  messageId: (value) => typeof value === "string",
  query: isTable,
  headers: isTable,
};
