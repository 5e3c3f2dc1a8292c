import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { encodeBody } from "../protocol/codec.ts";
import { PendingCall, PendingCalls } from "./pending-call.ts";

function pending(own: { readonly ms?: number; readonly body?: unknown } = {}) {
  const { ms = 60_000, body = "four" } = own;
  const of = { release: vi.fn(), remove: vi.fn(), unanswered: vi.fn(), failing: vi.fn() };
  const outgoing = { path: "/", headers: undefined, body: encodeBody(body), validate: undefined };
  const command = { service: "s", target: "/", contract: undefined };
  const call = new PendingCall(ms, { command, outgoing, scope: undefined, of });
  call.promise.catch(() => undefined);
  return { call, of };
}

describe("calls that wait", () => {
  it("are found by their ids, each by its own", () => {
    const calls = new PendingCalls("i");
    const all = Array.from({ length: 100 }, () => pending().call);
    for (const call of all) calls.add(call);
    expect(new Set(all.map((call) => calls.idOf(call))).size).toBe(100);
    for (const call of all) expect(calls.find(calls.idOf(call))).toBe(call);
    expect([calls.size, calls.list().length]).toEqual([100, 100]);
  });

  it("give up their places, and no id of theirs leads to who has it next", () => {
    const calls = new PendingCalls("i");
    const [first, second, third] = [pending().call, pending().call, pending().call];
    calls.add(first);
    calls.add(second);
    calls.delete(first);
    calls.delete(first);
    calls.add(third);
    expect(third.place).toBe(first.place);
    expect(calls.find(calls.idOf(first))).toBeUndefined();
    expect(calls.find(calls.idOf(third))).toBe(third);
    calls.delete(first);
    expect(calls.find(calls.idOf(third))).toBe(third);
    expect(calls.list()).toEqual([third, second]);
  });

  it("give no place to two, however often one is taken out", () => {
    const calls = new PendingCalls("i");
    const [first, second, third] = [pending().call, pending().call, pending().call];
    calls.add(first);
    for (let n = 0; n < 3; n += 1) calls.delete(first);
    calls.add(second);
    calls.add(third);
    const found = [second, third].map((call) => calls.find(calls.idOf(call)));
    expect([...found, calls.size]).toEqual([second, third, 2]);
  });

  it("are not found by what foreign replies name, be it one of their places", () => {
    const calls = new PendingCalls("a.b");
    const { call } = pending();
    calls.add(call);
    const id = calls.idOf(call);
    const start = id.slice(0, -"1.0".length);
    expect(id).toMatch(/^a\.b-[\w-]{11}-1\.0$/);
    const endings = ["1.", "1.00", "1.0!", "1.0 ", "1.-0", "2.0", "01.0", "1.1", "1.0.0", "1.0e0", "1.0x0"];
    const forged = [
      "",
      "0",
      ".0",
      "a.0",
      "-1.0",
      "a.b-1.0",
      "a.b--1.0",
      id.toUpperCase(),
      "x.-1",
      "x.Infinity",
    ];
    for (const other of [...endings.map((end) => start + end), ...forged, "__proto__", "length", "x.length"])
      expect(calls.find(other)).toBeUndefined();
    expect(calls.find(id)).toBe(call);
  });

  it("have ids that tell nothing of the next", () => {
    const calls = new PendingCalls("i");
    const secrets = Array.from({ length: 2_000 }, () => {
      const { call } = pending();
      calls.add(call);
      const id = calls.idOf(call);
      calls.delete(call);
      return /^i-([\w-]{11})-\d+\.0$/.exec(id)?.[1] ?? expect.unreachable(id);
    });
    expect(new Set(secrets).size).toBe(2_000);
    // Each character of them is any of 64.
    for (let at = 0; at < 11; at += 1)
      expect(new Set(secrets.map((each) => each[at])).size).toBeGreaterThan(48);
  });

  it("are all found and no others, whatever comes and goes", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 100 }), fc.string(), (steps, foreign) => {
        const calls = new PendingCalls("i");
        const here: PendingCall[] = [];
        const gone: PendingCall[] = [];
        for (const step of steps) {
          const leaving = step % 2 === 0 ? here.splice(step % Math.max(1, here.length), 1) : [];
          for (const call of leaving) {
            calls.delete(call);
            gone.push(call);
          }
          if (leaving.length > 0) continue;
          const { call } = pending();
          calls.add(call);
          here.push(call);
        }
        for (const call of here) expect(calls.find(calls.idOf(call))).toBe(call);
        for (const call of gone) expect(calls.find(calls.idOf(call))).toBeUndefined();
        expect(calls.find(foreign)).toBeUndefined();
        expect(new Set(calls.list())).toEqual(new Set(here));
        expect(calls.size).toBe(here.length);
      }),
      { numRuns: 200 },
    );
  });
});

describe("a call that waits", () => {
  it("accounts for its body until that is on its way for good or nobody waits any more, once", () => {
    const released = pending();
    released.call.release();
    released.call.release();
    expect(released.call.body).toBeUndefined();
    const ended = pending();
    expect(ended.call.body?.json).toBe('"four"');
    ended.call.resolve({ status: 200, headers: {}, body: 1 });
    released.call.reject(new Error("no"));
    for (const { of } of [released, ended]) {
      expect(of.release.mock.calls).toEqual([[6]]);
      expect(of.remove).toHaveBeenCalledTimes(1);
    }
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
