import { describe, expect, it } from "vitest";
import * as z from "zod";
import { checkEvent, event } from "./event.ts";

const body = z.object({ total: z.number() });
const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" });

describe("event", () => {
  it("makes a frozen plain value", () => {
    const orderPlaced = event("/orders/:id/placed", { body });
    expect(orderPlaced).toMatchObject({ kind: "event", path: "/orders/:id/placed", body });
    expect(Object.isFrozen(orderPlaced)).toBe(true);
    expect(event("started")).toMatchObject({ kind: "event", path: "started", body: undefined });
  });

  it("is addressed with .at()", () => {
    const { at } = event("/orders/:id/placed", { body });
    const bound = at({ id: "7" });
    expect(bound).toEqual({ kind: "event", path: "/orders/7/placed", pattern: "/orders/:id/placed", body });
    expect(Object.isFrozen(bound)).toBe(true);
  });

  it.each(["/orders/*/placed", "/orders/#", "/orders*", ""])("refuses the path %j", (path) => {
    expect(() => event(path)).toThrow(invalid);
  });

  it("says what to do instead of a wildcard", () => {
    expect(() => event("/orders/*")).toThrow(/a path without wildcards \(name a `:parameter`\)/);
  });

  it("refuses a body that is no schema", () => {
    expect(() => event("/orders", { body: { total: "number" } as never })).toThrow(invalid);
  });
});

describe("checkEvent", () => {
  it("accepts contracts, addressed or not, and plain data", () => {
    const tagged = event("/tags/:tag");
    for (const value of [tagged, tagged.at({ tag: "c#" }), { kind: "event", path: "/a" }]) {
      expect(() => checkEvent(value)).not.toThrow();
    }
  });

  it.each([undefined, null, "/a", {}, { kind: "command", service: "a", path: "/a" }, { kind: "event" }])(
    "refuses %j",
    (value) => {
      expect(() => checkEvent(value)).toThrow(invalid);
    },
  );
});
