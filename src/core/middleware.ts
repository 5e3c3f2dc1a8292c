/** Middleware around handlers, first registered outermost. */

import { ConfluoError } from "../errors.ts";
import type { Context, Middleware, Reply } from "./context.ts";

/** Runs a handler inside middleware. A middleware that calls `next` twice gets an error instead of a second run. */
export function runThrough(
  middleware: readonly Middleware[],
  context: Context,
  handler: () => Promise<Reply>,
): Promise<Reply> {
  const run = async (at: number): Promise<Reply> => {
    const current = middleware[at];
    if (current === undefined) return handler();
    let called = false;
    const reply = await current(context, async () => {
      if (called) {
        throw new ConfluoError("INVALID_ARGUMENT", "A middleware called next() twice: a handler runs once.");
      }
      called = true;
      return run(at + 1);
    });
    if (!isReply(reply)) {
      throw new ConfluoError(
        "INVALID_ARGUMENT",
        "A middleware returned no reply: return what next() resolves with, or { status, headers, body }.",
      );
    }
    return reply;
  };
  return run(0);
}

function isReply(value: unknown): value is Reply {
  return typeof value === "object" && value !== null && Number.isInteger((value as Partial<Reply>).status);
}
