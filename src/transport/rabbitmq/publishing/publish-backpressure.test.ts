import { describe, expect, it, vi } from "vitest";
import type { Gate } from "../../../async/gate.ts";
import { PublishBackpressure } from "./publish-backpressure.ts";

const MIB = 1024 * 1024;

/** Tells whether a gate has opened. */
function watched(gate: Gate | undefined): () => boolean {
  const opened = vi.fn();
  gate?.onOpen(opened);
  return () => opened.mock.calls.length > 0;
}

describe("pressure", () => {
  it("holds up what comes next while the broker is behind by 8 MiB, until it is by 4", () => {
    const pressure = new PublishBackpressure();
    for (let n = 0; n < 7; n += 1) pressure.add(MIB);
    expect(pressure.congestion).toBeUndefined();
    pressure.add(MIB);
    const isOver = watched(pressure.congestion);
    for (let n = 0; n < 4; n += 1) pressure.remove(MIB);
    expect(isOver()).toBe(false);
    pressure.remove(MIB);
    expect(isOver()).toBe(true);
    expect(pressure.congestion).toBeUndefined();
  });

  it("counts small messages, too", () => {
    const pressure = new PublishBackpressure();
    for (let n = 0; n < 40_000; n += 1) pressure.add(0);
    expect(pressure.congestion).toBeDefined();
  });

  it("lasts while the broker takes nothing, and ends with the connection", () => {
    const pressure = new PublishBackpressure();
    pressure.setBlocked("low on memory");
    expect(pressure.blocked).toBe("low on memory");
    const isFirstOver = watched(pressure.congestion);
    expect(isFirstOver()).toBe(false);
    pressure.setBlocked(undefined);
    expect(isFirstOver()).toBe(true);
    pressure.setBlocked("low on disk");
    const isSecondOver = watched(pressure.congestion);
    pressure.end();
    expect(isSecondOver()).toBe(true);
    expect(pressure.congestion).toBeUndefined();
    expect(pressure.blocked).toBeUndefined();
  });
});
