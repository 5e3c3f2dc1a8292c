import { expect, it } from "vitest";
import { UseRecorder } from "./uses.ts";

it("counts what is used by its contract, and together what has none", () => {
  const uses = new UseRecorder();
  uses.calls.add("stock", { path: "/orders/7/reserve", pattern: "/orders/:id/reserve" });
  uses.calls.add("stock", { path: "/orders/8/reserve", pattern: "/orders/:id/reserve" });
  uses.calls.add("stock", undefined);
  uses.sends.add("mail", { path: "/welcome" });
  uses.publishes.add("", { path: "/orders/1/placed", pattern: "/orders/:id/placed" });
  uses.publishes.add("", undefined);
  uses.publishes.add("", undefined);
  expect(uses.read()).toEqual({
    calls: [
      { service: "stock", path: "/orders/:id/reserve", count: 2 },
      { service: "stock", count: 1 },
    ],
    sends: [{ service: "mail", path: "/welcome", count: 1 }],
    publishes: [{ path: "/orders/:id/placed", count: 1 }, { count: 2 }],
  });
});

it("keeps no more than there is room for, and counts the rest", () => {
  const uses = new UseRecorder();
  for (let n = 0; n < 600; n += 1) uses.calls.add(`s${n}`, undefined);
  for (let n = 0; n < 600; n += 1) uses.publishes.add("", { path: `/e${n}` });
  const { calls, publishes } = uses.read();
  expect([calls.length, calls.at(-1)]).toEqual([501, { count: 100 }]);
  expect([publishes.length, publishes.at(-1)]).toEqual([501, { count: 100 }]);
});
