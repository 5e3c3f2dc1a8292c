import { describe, expect, it, vi } from "vitest";
import { Pressure } from "./pressure.ts";

const MIB = 1024 * 1024;

/** Whether a promise has resolved by now. */
async function isOver(promise: Promise<void> | undefined): Promise<boolean> {
  const over = vi.fn();
  void promise?.then(over);
  await new Promise(setImmediate);
  return over.mock.calls.length > 0;
}

describe("pressure", () => {
  it("holds up what comes next while the broker is behind by 8 MiB, until it is by 4", async () => {
    const pressure = new Pressure();
    for (let n = 0; n < 7; n += 1) pressure.add(MIB);
    expect(pressure.congestion).toBeUndefined();
    pressure.add(MIB);
    const { congestion } = pressure;
    for (let n = 0; n < 4; n += 1) pressure.remove(MIB);
    expect(await isOver(congestion)).toBe(false);
    pressure.remove(MIB);
    expect(await isOver(congestion)).toBe(true);
    expect(pressure.congestion).toBeUndefined();
  });

  it("counts small messages, too", () => {
    const pressure = new Pressure();
    for (let n = 0; n < 40_000; n += 1) pressure.add(0);
    expect(pressure.congestion).toBeDefined();
  });

  it("lasts while the broker takes nothing, and ends with the connection", async () => {
    const pressure = new Pressure();
    pressure.setBlocked("low on memory");
    expect(pressure.blocked).toBe("low on memory");
    const first = pressure.congestion;
    expect(await isOver(first)).toBe(false);
    pressure.setBlocked(undefined);
    expect(await isOver(first)).toBe(true);
    pressure.setBlocked("low on disk");
    const second = pressure.congestion;
    pressure.end();
    expect(await isOver(second)).toBe(true);
    expect(pressure.congestion).toBeUndefined();
    expect(pressure.blocked).toBeUndefined();
  });
});
