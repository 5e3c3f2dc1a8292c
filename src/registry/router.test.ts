import { describe, expect, it } from "vitest";
import { Router } from "./router.ts";

function routerOf(...patterns: string[]): Router<string> {
  const router = new Router<string>();
  for (const pattern of patterns) router.add(pattern, pattern);
  return router;
}

describe("a router", () => {
  it("finds literal paths, with or without the leading slash in the pattern", () => {
    const router = routerOf("/a/b", "c", "/");
    expect(router.find("/a/b")?.route).toBe("/a/b");
    expect(router.find("/c")?.route).toBe("c");
    expect(router.find("/")?.route).toBe("/");
    expect(router.find("/a")).toBeUndefined();
    expect(router.find("/a/b/")).toBeUndefined();
  });

  it("gives the values of parameters", () => {
    const router = routerOf("/orders/:id/lines/:line");
    expect(router.find("/orders/7/lines/ö")).toEqual({
      route: "/orders/:id/lines/:line",
      params: { id: "7", line: "ö" },
    });
    expect(router.find("/orders//lines/1")).toBeUndefined();
  });

  it("prefers a literal to a parameter, and goes back when the literal leads nowhere", () => {
    const router = routerOf(
      "/orders/:id",
      "/orders/new",
      "/orders/new/:x",
      "/orders/:id/lines",
      "/:a/:b/end",
    );
    expect(router.find("/orders/new")?.route).toBe("/orders/new");
    expect(router.find("/orders/7")?.route).toBe("/orders/:id");
    expect(router.find("/orders/new/lines")?.route).toBe("/orders/new/:x");
    expect(router.find("/orders/8/end")).toEqual({ route: "/:a/:b/end", params: { a: "orders", b: "8" } });
  });

  it("refuses a pattern of the same shape, wildcards and repeated names", () => {
    const router = routerOf("/orders/:id");
    expect(() => router.add("orders/:other", "x")).toThrow(
      expect.objectContaining({ code: "ALREADY_REGISTERED" }),
    );
    for (const pattern of ["/a/*", "/#", "/:a/:a", "/:a-b"]) {
      expect(() => router.add(pattern, "x")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });

  it("forgets a removed route and takes it again", () => {
    const router = routerOf("/a", "/b/:c");
    router.remove("/a");
    router.remove("/b/:c");
    router.remove("/never/there");
    expect(router.find("/a")).toBeUndefined();
    expect(router.find("/b/1")).toBeUndefined();
    router.add("/a", "again");
    expect(router.find("/a")?.route).toBe("again");
  });

  it("takes parameters that are named like an object's own", () => {
    const router = routerOf("/:__proto__/:constructor");
    const { params } = router.find("/x/y") ?? { params: {} };
    expect(Object.entries(params)).toEqual([
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
  });
});
