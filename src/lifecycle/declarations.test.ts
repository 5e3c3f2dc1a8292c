import { describe, expect, it, vi } from "vitest";
import type { Session } from "../transport/transport.ts";
import { Declarations } from "./declarations.ts";

/** Declarations on a session that writes down what it is asked for. */
function declarations(connecting: Promise<void> | undefined = Promise.resolve()) {
  const asked: string[] = [];
  const session = {
    serve: async () => void asked.push("serve"),
    bind: async (keys: readonly string[], per: string) => {
      asked.push(`bind ${per} ${keys.join(" ")}`);
      if (keys.includes("refused")) throw new Error("refused");
    },
    unbindInstance: async (key: string) => void asked.push(`unbind ${key}`),
  } as unknown as Session;
  const failed = vi.fn();
  const own = new Declarations({ connecting: () => connecting, session: () => session, failed });
  return { own, asked, failed };
}

describe("what is registered after connect()", () => {
  it("is bound together, before it is served", async () => {
    const { own, asked } = declarations();
    for (const key of ["a", "b"]) own.bind(key, "service");
    own.serve();
    own.bind("c", "service");
    own.bind("d", "instance");
    await own.settled();
    expect(asked).toEqual(["bind service a b c", "bind instance d", "serve", "serve"]);
  });

  it("is unbound and bound in the order asked for", async () => {
    const { own, asked } = declarations();
    own.bind("a", "instance");
    own.unbindInstance("a");
    own.bind("a", "instance");
    await own.settled();
    expect(asked.filter((each) => each !== "serve")).toEqual([
      "bind instance a",
      "unbind a",
      "bind instance a",
    ]);
  });

  it("begins anew after what has begun, and after what failed", async () => {
    const { own, asked, failed } = declarations();
    own.bind("refused", "service");
    await own.settled();
    await vi.waitFor(() => expect(failed).toHaveBeenCalledTimes(1));
    own.bind("b", "service");
    await own.settled();
    expect(asked).toEqual(["bind service refused", "serve", "bind service b", "serve"]);
  });

  it("is bound by a later connection when the first one failed", async () => {
    const { own, asked, failed } = declarations(Promise.reject(new Error("no broker")));
    own.bind("a", "service");
    await own.settled();
    await vi.waitFor(() => expect(failed).toHaveBeenCalledTimes(1));
    own.bind("b", "service");
    await own.settled();
    expect([asked, failed.mock.calls.length]).toEqual([[], 2]);
  });

  it("is nothing before connect()", async () => {
    const session = vi.fn();
    const own = new Declarations({ connecting: () => undefined, session, failed: vi.fn() });
    own.bind("a", "service");
    own.serve();
    await own.settled();
    expect(session).not.toHaveBeenCalled();
  });
});
