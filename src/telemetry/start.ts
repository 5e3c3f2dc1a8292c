/** Starts telemetry if the process uses OpenTelemetry. */

import { describeThrown } from "../errors.ts";

/** The global under which `@opentelemetry/api` stores what an SDK has registered; set once an SDK was started. */
const openTelemetry: unique symbol = Symbol.for("opentelemetry.js.api.1") as never;
/** Shared by all copies of this package, because they publish on the same channels, and one listener is enough. */
const started: unique symbol = Symbol.for("confluo.telemetry.1") as never;

/**
 * Starts spans and metrics, once per process, if an OpenTelemetry SDK was started in it. Otherwise it imports nothing, and the
 * next service that connects checks again.
 *
 * @returns a promise only if telemetry is being started; it never rejects.
 */
export function startTelemetry(warn: (details: object, message: string) => void): Promise<void> | undefined {
  const holder = globalThis as { [openTelemetry]?: object; [started]?: Promise<void> };
  if (holder[openTelemetry] === undefined) return undefined;
  holder[started] ??= start(warn);
  return holder[started];
}

async function start(warn: (details: object, message: string) => void): Promise<void> {
  try {
    // The only import of this package, inside a `try`. So a bundler includes it if it is installed, and otherwise keeps the
    // import instead of failing.
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
