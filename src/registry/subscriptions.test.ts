import { describe, expect, it } from "vitest";
import { eventParams, Subscriptions } from "./subscriptions.ts";

describe("subscriptions", () => {
  it("match by pattern, apart for services and instances", () => {
    const subscriptions = new Subscriptions<string>();
    subscriptions.add("/a/*", "service", "star");
    subscriptions.add("/a/b", "service", "exact");
    subscriptions.add("/a/b", "instance", "each");
    const names = (key: string, per: "service" | "instance"): string[] =>
      subscriptions
        .match(key, per)
        .map(({ handler }) => handler)
        .sort();
    expect(names("a.b", "service")).toEqual(["exact", "star"]);
    expect(names("a.b", "instance")).toEqual(["each"]);
    expect(names("a.c", "service")).toEqual(["star"]);
  });

  it("refuse a second handler for one key, and take it after the first was removed", () => {
    const subscriptions = new Subscriptions<string>();
    const first = subscriptions.add("/a/:id", "service", "first");
    expect(() => subscriptions.add("a/*", "service", "second")).toThrow(/already/);
    subscriptions.remove(first);
    subscriptions.remove(first);
    subscriptions.add("a/*", "service", "second");
    expect(subscriptions.list().map(({ handler }) => handler)).toEqual(["second"]);
  });
});

describe("parameters of an event's path", () => {
  it("are refused between two #, where nobody could say which segment is meant", () => {
    const subscriptions = new Subscriptions<string>();
    expect(() => subscriptions.add("/#/:id/#", "service", "lost")).toThrow(/between two #/);
    subscriptions.add("/:a/#/b/#/:c", "service", "fine");
  });

  it("are read from before and behind a #", () => {
    const paramsOf = (pattern: string, path: string) =>
      eventParams(new Subscriptions<string>().add(pattern, "service", "handler").parameters, path);
    expect(paramsOf("/order/:id/placed", "/order/7/placed")).toEqual({ id: "7" });
    expect(paramsOf("/:a/#/:b", "/x/1/2/3/y")).toEqual({ a: "x", b: "y" });
    expect(paramsOf("/:a/#/:b", "/x/y")).toEqual({ a: "x", b: "y" });
    expect(paramsOf("/a/*", "/a/b")).toEqual({});
  });
});
