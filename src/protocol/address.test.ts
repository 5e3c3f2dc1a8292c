import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bindingKey,
  checkCommandPath,
  checkName,
  eventKey,
  parseTarget,
  pathOfKey,
  whyNoReturn,
} from "./address.ts";
import { allLevels, returnedQueue } from "./delays.ts";
import { Namespace } from "./topology.ts";

describe("paths of events", () => {
  it("become routing keys as the protocol says", () => {
    expect(eventKey("/foo/bar")).toBe("foo.bar");
    expect(eventKey("MyFancyEvent")).toBe("MyFancyEvent");
    expect(eventKey("/my/cool/path//event")).toBe("my.cool.path..event");
    expect(eventKey("/a.b/c*d/#/100%")).toBe("a%2Eb.c%2Ad.%23.100%25");
    expect(eventKey("/ünï cödé/")).toBe("ünï cödé.");
  });

  it("come back from their key unchanged", () => {
    const path = fc
      .array(
        fc
          .string({ unit: "binary", maxLength: 6 })
          .filter((segment) => !segment.includes("\0") && segment.isWellFormed()),
        {
          minLength: 1,
          maxLength: 4,
        },
      )
      .map((segments) => `/${segments.join("/")}`)
      .filter((text) => text !== "/" && Buffer.byteLength(text) < 80);
    fc.assert(
      fc.property(path, (text) => {
        expect(pathOfKey(eventKey(text))).toBe(text);
      }),
    );
  });

  it("never make a wildcard or another number of words", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 20 }), (text) => {
        if (text.includes("\0") || text === "/") return;
        const key = eventKey(text);
        expect(key).not.toMatch(/[*#]/);
        const bare = text.startsWith("/") ? text.slice(1) : text;
        expect(key.split(".").length).toBe(bare.split("/").length);
      }),
    );
  });

  it("may take 255 bytes and no more", () => {
    expect(eventKey("a".repeat(255))).toHaveLength(255);
    for (const path of ["a".repeat(256), "€".repeat(86), ".".repeat(86)])
      expect(() => eventKey(path)).toThrow(/255/);
    expect(() => checkCommandPath(`/${"a".repeat(255)}`)).toThrow(/256 bytes.*255/);
  });

  it("are refused when empty, ill-formed or no text", () => {
    for (const path of ["", "/", "a\0b", "\uD800", undefined, 7])
      expect(() => eventKey(path as string)).toThrow(/must be/);
  });
});

describe("patterns", () => {
  it("become binding keys", () => {
    expect(bindingKey("/order/*/placed")).toBe("order.*.placed");
    expect(bindingKey("/order/#")).toBe("order.#");
    expect(bindingKey("/order/:id/placed")).toBe("order.*.placed");
    expect(bindingKey("#")).toBe("#");
    expect(bindingKey("/a.b/*")).toBe("a%2Eb.*");
  });

  it("take wildcards for whole segments only", () => {
    for (const pattern of ["/order/plac*", "/a#b"])
      expect(() => bindingKey(pattern)).toThrow(/whole segments/);
  });

  it("take two # at most, which is what RabbitMQ 4.3 takes", () => {
    expect(bindingKey("/#/a/#")).toBe("#.a.#");
    expect(() => bindingKey("/#/a/#/b/#")).toThrow(/at most 2/);
  });

  it("refuse what begins like a parameter and is none", () => {
    for (const pattern of ["/a/:order-id", "/:", "/:1"])
      expect(() => bindingKey(pattern)).toThrow(/parameter/);
  });
});

describe("targets", () => {
  it("are split into path and query", () => {
    expect(parseTarget("bar?x=1&y=a?b")).toEqual({ path: "/bar", query: "x=1&y=a?b" });
    expect(parseTarget("/bar")).toEqual({ path: "/bar", query: "" });
  });
});

describe("names", () => {
  it("may hold letters, digits and a few signs", () => {
    for (const name of ["Service-A", "a_b", "größe", "v1:orders", "名前"])
      expect(checkName(name, "service")).toBe(name);
    for (const name of ["", "a.b", "a b", "a/b", "a*", "#", "a\n", null]) {
      expect(() => checkName(name as string, "service")).toThrow(/name of a service/);
    }
    expect(() => checkName("amq", "namespace")).toThrow(/amq/);
  });
});

const namespace = new Namespace("shop");
const reserved = [
  ...["clock", "cancelled", "ordered", "ordered.7", "cursor.x", "batch.0a", "limit.0a", "limit.0a.rest"],
  ...["inbox.urgent", "calls.0a.again", "inbox.0a", "inbox.0a.again"],
].map((name) => `shop.orders.${name}`);
const queues = [
  ...[
    ...namespace.sharedQueues(),
    ...namespace.callQueues("orders"),
    ...namespace.durableQueues("orders"),
    ...allLevels(namespace),
    returnedQueue(namespace, 0),
  ].map(({ name }) => name),
  ...reserved,
  "shop.history",
  "shop.history.2",
  "shop.delay.250",
];

describe("a place for an answer", () => {
  it.each(queues)("is not %s, which takes messages for work", (replyTo) => {
    expect(whyNoReturn({ replyTo })).toMatch(/is the queue of a service/);
  });

  it("is any other queue, also one whose name is like those of services", () => {
    for (const replyTo of [
      "answers",
      "shop.orders",
      "shop.orders.mine",
      "a.b.c.calls",
      "shop.wait.x",
      "shop.due",
    ])
      expect(whyNoReturn({ replyTo }), replyTo).toBeUndefined();
  });
});
