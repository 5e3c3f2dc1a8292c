import { describe, expect, it } from "vitest";
import { header, headerBytes } from "./codec.ts";
import type { WireHeaders } from "./message.ts";
import { originOf } from "./origin.ts";
import { republished } from "./republish.ts";

function copyOf(headers: WireHeaders, added: Readonly<Record<string, string>>): WireHeaders {
  const message = { body: new Uint8Array(), properties: { type: "/a", messageId: "m", headers } };
  const origin = originOf(message, { lane: "inbox", eventKey: undefined, newId: () => "new" });
  return republished(message, origin, added).properties.headers ?? {};
}

describe("a copy", () => {
  it("keeps all headers that confluo lets one send, whatever the story is", () => {
    const own = Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`h${n}`, "x".repeat(1_000)]));
    const stack = "錯".repeat(6_000);
    const copy = copyOf(own, {
      [header.error]: "HANDLER_FAILED",
      [header.errorMessage]: "錯".repeat(2_000),
      [header.errorStack]: stack,
      [header.queue]: "q",
    });
    expect(copy).toMatchObject({ ...own, [header.error]: "HANDLER_FAILED", [header.queue]: "q" });
    const kept = copy[header.errorStack] as string;
    expect(kept.length).toBeGreaterThan(1_000);
    expect(stack.startsWith(kept)).toBe(true);
    const bytes = Object.entries(copy).reduce((sum, [name, value]) => sum + headerBytes(name, `${value}`), 0);
    expect(bytes).toBeLessThanOrEqual(48 * 1024);
  });

  it("leaves a foreign sender's headers out where there is no room, and never what the message is", () => {
    const own = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`h${n}`, "x".repeat(1_000)]));
    const copy = copyOf(own, { [header.error]: "X", [header.errorStack]: "stack" });
    expect(copy).toMatchObject({ [header.path]: "/a", [header.error]: "X", h0: own.h0 });
    expect(copy.h59).toBeUndefined();
  });
});
