import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type InFlightCall, InFlightCalls, type InFlightItem, InFlightSet, Secrets } from "./in-flight.ts";

const waiting = (): InFlightCall => ({ slot: -1, path: "/", bytes: 6, serial: 0, secret: "" });

describe("calls that wait", () => {
  it("are found by their ids, each by its own", () => {
    const calls = new InFlightCalls("i");
    const all = Array.from({ length: 100 }, () => waiting());
    for (const call of all) calls.add(call);
    expect(new Set(all.map((call) => calls.idOf(call))).size).toBe(100);
    for (const call of all) expect(calls.withId(calls.idOf(call))).toBe(call);
    expect([calls.size, calls.list().length]).toEqual([100, 100]);
  });

  it("give up their places, and no id of theirs leads to who has it next", () => {
    const calls = new InFlightCalls("i");
    const [first, second, third] = [waiting(), waiting(), waiting()];
    calls.add(first);
    calls.add(second);
    const { slot } = first;
    const id = calls.idOf(first);
    calls.delete(first);
    calls.delete(first);
    calls.add(third);
    expect(third.slot).toBe(slot);
    expect(calls.withId(id)).toBeUndefined();
    expect(calls.withId(calls.idOf(third))).toBe(third);
    calls.delete(first);
    expect(calls.withId(calls.idOf(third))).toBe(third);
    expect(calls.list()).toEqual([third, second]);
  });

  it("give no place to two, however often one is taken out", () => {
    const calls = new InFlightCalls("i");
    const [first, second, third] = [waiting(), waiting(), waiting()];
    calls.add(first);
    for (let n = 0; n < 3; n += 1) calls.delete(first);
    calls.add(second);
    calls.add(third);
    const found = [second, third].map((call) => calls.withId(calls.idOf(call)));
    expect([...found, calls.size]).toEqual([second, third, 2]);
  });

  it("are not found by what foreign replies name, be it one of their places", () => {
    const calls = new InFlightCalls("a.b");
    const call = waiting();
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
      expect(calls.withId(other)).toBeUndefined();
    expect(calls.withId(id)).toBe(call);
  });

  it("have ids that tell nothing of the next", () => {
    const calls = new InFlightCalls("i");
    const secrets = Array.from({ length: 2_000 }, () => {
      const call = waiting();
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
        const calls = new InFlightCalls("i");
        const here: InFlightCall[] = [];
        const gone: string[] = [];
        for (const step of steps) {
          const leaving = step % 2 === 0 ? here.splice(step % Math.max(1, here.length), 1) : [];
          for (const call of leaving) {
            gone.push(calls.idOf(call));
            calls.delete(call);
          }
          if (leaving.length > 0) continue;
          const call = waiting();
          calls.add(call);
          here.push(call);
        }
        for (const call of here) expect(calls.withId(calls.idOf(call))).toBe(call);
        for (const id of gone) expect(calls.withId(id)).toBeUndefined();
        expect(calls.withId(foreign)).toBeUndefined();
        expect(new Set(calls.list())).toEqual(new Set(here));
        expect(calls.size).toBe(here.length);
      }),
      { numRuns: 200 },
    );
  });
});

describe("a backlog", () => {
  it("takes 256 MiB of bodies, or one that is larger", () => {
    const MIB = 1024 * 1024;
    const backlog = new InFlightSet("the broker");
    const message = (path: string, bytes: number): InFlightItem => ({ slot: -1, path, bytes });
    const huge = message("/huge", 300 * MIB);
    backlog.add(huge);
    expect(() => backlog.add(message("/small", 0))).toThrow(expect.objectContaining({ code: "OVERLOADED" }));
    backlog.resize(huge, 0); // it went out, and is still waited for
    const all = Array.from({ length: 16 }, () => message("/large", 16 * MIB));
    for (const large of all) backlog.add(large);
    expect(() => backlog.add(message("/small", 1))).toThrow(/wait for the broker/);
    backlog.add(message("/empty", 0));
    backlog.delete(all[0] as InFlightItem);
    backlog.add(message("/large", 16 * MIB));
  });
});

it("makes secrets of one length that do not repeat when its pool is used up", () => {
  const secrets = new Secrets();
  const made = Array.from({ length: 5_000 }, () => secrets.next());
  expect(made.every((each) => /^[\w-]{11}$/.test(each))).toBe(true);
  expect(new Set(made).size).toBe(5_000);
});
