/** Telemetry by OpenTelemetry, if the process has it. */

import { describeThrown } from "../errors.ts";

/** Where `@opentelemetry/api` keeps what an SDK has registered; there once one was started. */
const openTelemetry: unique symbol = Symbol.for("opentelemetry.js.api.1") as never;
/** Two copies of this package tell on the same channels: one listens for both. */
const started: unique symbol = Symbol.for("confluo.telemetry.1") as never;

/**
 * Begins to make spans and metrics, once in a process, if an OpenTelemetry SDK was started in it. Else nothing is imported,
 * and the next service that connects asks again.
 *
 * @returns a promise only if there is something to wait for; it never rejects.
 */
export function startTelemetry(warn: (details: object, message: string) => void): Promise<void> | undefined {
  const holder = globalThis as { [openTelemetry]?: object; [started]?: Promise<void> };
  if (holder[openTelemetry] === undefined) return undefined;
  holder[started] ??= start(warn);
  return holder[started];
}

async function start(warn: (details: object, message: string) => void): Promise<void> {
  try {
    // The only import of it, and inside a `try`: so a bundler takes it along where it is installed, and leaves the import
    // as it is where it is not, instead of failing.
    const api = await import("@opentelemetry/api");
    const { listen } = await import("./open-telemetry.ts");
    listen(api);
  } catch (error) {
    const reason = describeThrown(error).message;
    warn(
      { err: error },
      `OpenTelemetry is started in this process, but confluo cannot use it: ${reason} Install @opentelemetry/api beside confluo.`,
    );
  }
}
