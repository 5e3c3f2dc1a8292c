import { describe, expect, it } from "vitest";
import type { Context } from "../api/context.ts";
import type { Reply } from "../protocol/reply.ts";
import { runThrough } from "./middleware.ts";

const context = {} as Context;
const reply: Reply = { status: 200, headers: {}, body: 1 };

describe("middleware", () => {
  it("may answer without the handler", async () => {
    const result = await runThrough([async () => ({ ...reply, status: 202 })], context, () =>
      Promise.reject(new Error("ran")),
    );
    expect(result.status).toBe(202);
  });

  it("may catch what the handler throws", async () => {
    const rescue = async (_: Context, next: () => Promise<Reply>): Promise<Reply> =>
      next().catch(() => ({ ...reply, body: "rescued" }));
    await expect(runThrough([rescue], context, () => Promise.reject(new Error("no")))).resolves.toMatchObject(
      { body: "rescued" },
    );
  });

  it("cannot run the handler twice", async () => {
    let runs = 0;
    const twice = async (_: Context, next: () => Promise<Reply>): Promise<Reply> => {
      await next();
      return next();
    };
    const run = runThrough([twice], context, async () => {
      runs += 1;
      return reply;
    });
    await expect(run).rejects.toThrow(/twice/);
    expect(runs).toBe(1);
  });

  it("that returns no reply is told so", async () => {
    for (const garbage of [undefined, 7, {}, { status: "200" }]) {
      await expect(runThrough([async () => garbage as never], context, async () => reply)).rejects.toThrow(
        /no reply/,
      );
    }
  });
});
