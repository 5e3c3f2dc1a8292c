import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Step } from "./plan.ts";
import { formatLeft, Progress } from "./progress.ts";

const step = { subject: { name: "calls-1" }, variant: "raw", round: 0, expectedMs: 1 } as Step;

describe("the progress", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function screen(isTTY: boolean): {
    isTTY: boolean;
    columns: number;
    text: string;
    write(text: string): void;
  } {
    return {
      isTTY,
      columns: 60,
      text: "",
      write(text) {
        this.text += text;
      },
    };
  }

  it("is one line on a terminal, which counts down and goes away", () => {
    const terminal = screen(true);
    const progress = new Progress(terminal, { NO_COLOR: "1" });
    progress.begin(step, { done: 1, total: 4, leftMs: 30_000 });
    const bar = `${"━".repeat(6)}${"─".repeat(18)}`;
    expect(terminal.text).toBe(`\r\x1b[2K${bar} 2/4 calls-1 raw, 30 s left`);
    vi.advanceTimersByTime(2_000);
    expect(terminal.text).toContain("28 s left");
    progress.end();
    expect(terminal.text.endsWith("\r\x1b[2K")).toBe(true);
    expect(terminal.text).not.toContain("\n");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("has colour on a terminal only, and not for who wants none", () => {
    const [terminal, plain, file] = [screen(true), screen(true), screen(false)];
    for (const [where, env] of [
      [terminal, {}],
      [plain, { NO_COLOR: "1" }],
      [file, {}],
    ] as const)
      new Progress(where, env).begin(step, { done: 0, total: 1, leftMs: 0 });
    expect(terminal.text).toContain("\x1b[36m");
    expect(plain.text).not.toContain("\x1b[36m");
    expect(file.text).not.toContain("\x1b");
  });

  it("is a line now and then elsewhere", () => {
    const file = screen(false);
    const progress = new Progress(file, {});
    for (let done = 0; done < 10; done += 1) {
      progress.begin(step, { done, total: 10, leftMs: 60_000 });
      vi.advanceTimersByTime(5_000);
    }
    progress.fail(step, "no answer");
    progress.end();
    expect(file.text.split("\n")).toEqual([
      "1/10 calls-1 raw, 60 s left",
      "4/10 calls-1 raw, 60 s left",
      "7/10 calls-1 raw, 60 s left",
      "10/10 calls-1 raw, 60 s left",
      "raw failed in calls-1: no answer",
      "",
    ]);
  });

  it.each([
    [0, "nearly done"],
    [40_400, "40 s left"],
    [90_000, "2 min left"],
    [5_400_000, "1 h 30 min left"],
  ])("says %i ms as '%s'", (ms, text) => {
    expect(formatLeft(ms)).toBe(text);
  });
});
