import { describe, expect, it, vi } from "vitest";
import { encodeBody } from "../protocol/codec.ts";
import { PendingCall } from "./caller.ts";
import { InFlightCalls } from "./in-flight.ts";

function pending(own: { readonly ms?: number; readonly body?: unknown } = {}) {
  const { ms = 60_000, body = "four" } = own;
  const inFlight = new InFlightCalls<PendingCall>("i");
  const caller = { inFlight, unanswered: vi.fn(), failing: vi.fn() };
  const command = { service: "s", key: undefined, contract: undefined, path: "/", options: {} };
  const prepared = { ...command, headers: undefined, body: encodeBody(body), validate: undefined };
  const call = new PendingCall(prepared, caller, { ms, scope: undefined });
  call.promise.catch(() => undefined);
  return { call, inFlight };
}

describe("a call that waits", () => {
  it("accounts for its body until that is on its way for good or nobody waits any more, once", () => {
    const released = pending();
    const ended = pending();
    for (const { call, inFlight } of [released, ended]) inFlight.add(call);
    released.call.release();
    released.call.release();
    expect([released.inFlight.bytes, released.call.body]).toEqual([0, undefined]);
    expect([ended.inFlight.bytes, ended.call.body]).toEqual([6, encodeBody("four")]);
    ended.call.resolve({ status: 200, headers: {}, body: 1 });
    released.call.reject(new Error("no"));
    for (const { call, inFlight } of [released, ended])
      expect([inFlight.bytes, inFlight.size, call.body]).toEqual([0, 0, undefined]);
  });

  it("is rejected with what became of its message, unless that was taken", async () => {
    const { call } = pending();
    call.settle();
    expect(call.over).toBe(false);
    call.settle("returned");
    await expect(call.promise).rejects.toMatchObject({ code: "NO_SUCH_SERVICE" });
  });

  it("knows what is left of its deadline in whole milliseconds", () => {
    const now = vi.spyOn(performance, "now").mockReturnValue(1_000);
    const { call } = pending({ ms: 100 });
    call.begin(undefined);
    now.mockReturnValue(1_000.5);
    expect(call.leftMs()).toBe(99);
    now.mockReturnValue(1_101);
    expect(call.leftMs()).toBe(-1);
    now.mockRestore();
  });
});
