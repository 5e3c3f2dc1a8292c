import { hostname } from "node:os";
import { expect, it } from "vitest";
import { describeFailure } from "./failure.ts";

it("a reason is one line and has no stack", () => {
  const error = new Error(
    "raw ended with 1. Error: no\n    at load (x.js:1:2)\n    at y.js:3:4\nNode.js v20.20.2",
  );
  expect(describeFailure(error)).toBe("raw ended with 1. Error: no");
  expect(describeFailure("just text")).toBe("just text");
});

it("a reason does not say whose machine it was", () => {
  const text = `no /home/ada/bench/worker.js on ${hostname()}, file:///home/ada/x.mjs:3, amqp://ada:secret@db:5672`;
  expect(describeFailure(text)).toBe("no worker.js on (this machine), x.mjs:3, (an address)");
});

it("a reason that is long is cut", () => {
  expect(describeFailure("x".repeat(1_000))).toHaveLength(300);
});
