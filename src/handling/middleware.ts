/** Runs the middleware around a handler. The first one that was registered is the outermost. */

import type { Context, Middleware } from "../api/context.ts";
import { ConfluoError } from "../errors.ts";
import { isReplyStatus, type Reply } from "../protocol/reply.ts";

/**
 * Runs a handler inside the middleware. A middleware that calls `next` a second time gets an error; the handler is not run
 * again.
 */
export function runThrough(
  middleware: readonly Middleware[],
  context: Context,
  handler: () => Promise<Reply>,
): Promise<Reply> {
  const run = async (at: number): Promise<Reply> => {
    const current = middleware[at];
    if (current === undefined) return handler();
    let called = false;
    const next = (): Promise<Reply> => {
      const inner = called ? Promise.reject(nextTwice()) : run(at + 1);
      called = true;
      // The promise may reject without a middleware that awaits it, which must not end the process.
      inner.catch(() => undefined);
      return inner;
    };
    const reply = await current(context, next);
    if (!isReply(reply)) {
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        "A middleware returned no reply: return what next() resolves with, or { status, headers, body } with a status from 200 to 599.",
      );
    }
    return reply;
  };
  return run(0);
}

function nextTwice(): ConfluoError {
  return new ConfluoError("INVALID_ARGUMENT", "A middleware called next() twice: a handler runs once.");
}

function isReply(value: unknown): value is Reply {
  if (typeof value !== "object" || value === null) return false;
  const { status, headers } = value as Partial<Reply>;
  return isReplyStatus(status) && typeof headers === "object" && headers !== null;
}
