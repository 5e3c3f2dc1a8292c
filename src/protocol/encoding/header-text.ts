/** Values of header tables as text: clients in other languages write numbers and booleans where confluo writes strings. */

/** The text of a scalar value as AMQP clients decode it; `undefined` for tables, lists, bytes and nothing. */
export function scalarText(value: unknown): string | undefined {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "boolean":
    case "bigint":
      return String(value);
    case "object":
      return typedText(value);
    default:
      return undefined;
  }
}

/** As {@link scalarText}; also bytes that are UTF-8, since some clients write their byte strings so. */
export function textIn(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return value instanceof Uint8Array ? utf8(value) : scalarText(value);
}

/** The text of bytes, without a byte order mark; `undefined` if they are not UTF-8. */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}

const strict = new TextDecoder("utf-8", { fatal: true });

// amqplib gives types that JavaScript lacks as `{ "!": type, value }`.
function typedText(value: object | null): string | undefined {
  if (value === null || !Object.hasOwn(value, "!") || !Object.hasOwn(value, "value")) return undefined;
  const { "!": type, value: inner } = value as { readonly "!": unknown; readonly value: unknown };
  if (type === "decimal") return decimalText(inner);
  return type === "timestamp" ? timestampText(inner) : undefined;
}

function decimalText(inner: unknown): string | undefined {
  if (typeof inner !== "object" || inner === null) return undefined;
  const { digits, places } = inner as { readonly digits?: unknown; readonly places?: unknown };
  return typeof digits === "number" && typeof places === "number" ? String(digits / 10 ** places) : undefined;
}

// In ISO 8601, as confluo writes times.
function timestampText(seconds: unknown): string | undefined {
  const date = new Date(Number(seconds) * 1_000);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}
