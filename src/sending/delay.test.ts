import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Message } from "../protocol/message.ts";
import { delayedMessage, dueTimeOf } from "./delay.ts";

const now = Date.UTC(2026, 11, 1, 8);
beforeEach(() => void vi.useFakeTimers({ now }));
afterEach(() => void vi.useRealTimers());

const waitOf = (options: Parameters<typeof dueTimeOf>[0]): number | undefined => {
  const due = dueTimeOf(options);
  return due && due.at - performance.now();
};

describe("a delay", () => {
  it("is a number of milliseconds, or a moment", () => {
    expect(waitOf({ delayMs: 1_500 })).toBeCloseTo(1_500);
    expect(waitOf({ at: new Date(now + 1_500) })).toBeCloseTo(1_500);
    for (const text of [
      "2026-12-01T09:00:00Z",
      "2026-12-01T09:00Z",
      "2026-12-01T09:00:00.000+00:00",
      "2026-12-01T10:00:00+01:00",
      "2026-12-01T03:30:00-05:30",
      "2026-12-02T00:00:00+15:00",
    ])
      expect(waitOf({ at: text }), text).toBeCloseTo(3_600_000);
    expect(dueTimeOf({ at: "2026-12-01T10:00:00+01:00" })?.date).toEqual(new Date(now + 3_600_000));
  });

  it("is none if it is over", () => {
    for (const options of [
      { delayMs: 0 },
      { at: new Date(now) },
      { at: new Date(0) },
      { at: "1999-01-01T00:00Z" },
    ])
      expect(dueTimeOf(options)).toBeUndefined();
  });

  it("is refused if it names no moment, or not the same one everywhere", () => {
    for (const at of [
      "",
      "2026-12-01T09:00:00",
      "2026-12-01 09:00:00Z",
      "2026-12-01",
      "2026-02-29T09:00:00Z",
      "2026-04-31T09:00:00Z",
      "2026-12-01T25:00:00Z",
      "Tue, 01 Dec 2026 09:00:00 GMT",
      new Date(Number.NaN),
      now,
      null,
      {},
    ])
      expect(() => dueTimeOf({ at: at as Date }), String(at)).toThrow(
        /at must be a Date, or ISO 8601 with Z/,
      );
    expect(dueTimeOf({ at: "2028-02-29T09:00:00Z" })?.date).toEqual(new Date("2028-02-29T09:00:00Z"));
  });

  it("is refused if it is negative, too long, no number, or both", () => {
    for (const delayMs of [-1, Number.NaN, Number.POSITIVE_INFINITY, 4e12, "5", null])
      expect(() => dueTimeOf({ delayMs: delayMs as number })).toThrow(
        /delayMs must be a number of milliseconds/,
      );
    expect(() => dueTimeOf({ at: "2199-01-01T00:00Z" })).toThrow(/within the next 100 years/);
    expect(() => dueTimeOf({ delayMs: 1, at: new Date() })).toThrow(/delayMs must be left out/);
  });

  it("is the moment of its ISO text, whatever the offset", () => {
    const offset = fc.integer({ min: -14 * 60, max: 14 * 60 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10 ** 11 }), offset, (ms, minutes) => {
        const local = new Date(now + ms + minutes * 60_000).toISOString().slice(0, -1);
        const two = (n: number): string => String(n).padStart(2, "0");
        const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
        const text = `${local}${minutes < 0 ? "-" : "+"}${two(hours)}:${two(rest)}`;
        expect(dueTimeOf({ at: text })?.date.getTime()).toBe(now + ms);
      }),
    );
  });
});

describe("a message that waits", () => {
  const due = { at: 0, date: new Date(now) };
  const message: Message = {
    body: new Uint8Array(1),
    properties: { type: "/a", messageId: "m", deliveryMode: 2, expiration: "500", headers: { h: "1" } },
  };

  it("says when it is due, and how long it may live after that, which no longer ends its wait", () => {
    expect(delayedMessage(message, due)).toEqual({
      body: message.body,
      properties: {
        type: "/a",
        messageId: "m",
        deliveryMode: 2,
        mandatory: true,
        headers: { h: "1", "confluo-due": "2026-12-01T08:00:00.000Z", "confluo-expires": "500" },
      },
    });
  });

  it("names its path if it is an event, which is still to be published", () => {
    const { headers } = delayedMessage({ ...message, properties: {} }, due, "/e").properties;
    expect(headers).toEqual({
      "confluo-due": "2026-12-01T08:00:00.000Z",
      "confluo-kind": "publish",
      "confluo-path": "/e",
    });
  });
});
