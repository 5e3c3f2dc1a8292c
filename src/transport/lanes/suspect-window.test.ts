import { describe, expect, it, vi } from "vitest";
import { type Suspect, SuspectWindow } from "./suspect-window.ts";

function windowed() {
  const allow = vi.fn();
  const window = new SuspectWindow(allow);
  const admit = (isMarked = false): { readonly suspect: Suspect; readonly mayRun: boolean } => {
    const suspect = { isMarked, isTried: true };
    return { suspect, mayRun: window.admit(suspect) };
  };
  /** Has a full round of so many suspects end well. */
  const round = (count: number): void => {
    const suspects = Array.from({ length: count }, () => admit().suspect);
    for (const suspect of suspects) window.leave(suspect);
  };
  const allowed = (): unknown[] => allow.mock.calls.splice(0).flat();
  return { window, admit, round, allowed };
}

describe("suspects", () => {
  it("are tried one at a time, and four times as many after each round that the instance survives, up to 64", () => {
    const { round, allowed } = windowed();
    for (const count of [1, 4, 16, 64, 64]) round(count);
    expect(allowed()).toEqual([4, 16, 64]);
  });

  it("run with nothing beside them if an instance that had them is gone", () => {
    const { window, admit, round, allowed } = windowed();
    round(1);
    const others = [admit(), admit()];
    allowed();
    const marked = admit(true);
    expect(marked.mayRun).toBe(false);
    expect(allowed()).toEqual([0]);
    window.leave(marked.suspect); // it went back to its queue
    for (const { suspect, mayRun } of others) {
      expect(mayRun).toBe(true);
      expect(allowed()).toEqual([]);
      window.leave(suspect);
    }
    expect(allowed()).toEqual([1]);
    const alone = admit(true);
    expect(alone.mayRun).toBe(true);
    window.leave(alone.suspect);
    // It says nothing of others that it has survived.
    expect(allowed()).toEqual([]);
    round(1);
    expect(allowed()).toEqual([4]);
  });

  it("that were on their way go back beside a marked one, whatever they are", () => {
    const { window, admit, allowed } = windowed();
    const marked = admit(true);
    expect(marked.mayRun).toBe(true);
    const [late, other] = [admit(), admit(true)];
    expect([late.mayRun, other.mayRun, allowed()]).toEqual([false, false, [0]]);
    for (const { suspect } of [late, other, marked]) window.leave(suspect);
    expect(allowed()).toEqual([1]);
    expect(admit(true).mayRun).toBe(true);
  });

  it("begin again one at a time on another connection, and what the last one had counts for nothing", () => {
    const { window, admit, round, allowed } = windowed();
    round(1);
    const stale = [admit(), admit()];
    allowed();
    window.forget();
    for (const { suspect } of stale) window.leave(suspect);
    expect(allowed()).toEqual([]);
    round(1);
    expect(allowed()).toEqual([4]);
  });
});
