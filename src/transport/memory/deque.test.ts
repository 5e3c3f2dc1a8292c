import fc from "fast-check";
import { expect, test } from "vitest";
import { Deque } from "./deque.ts";

type Step =
  | { readonly do: "push" | "remove"; readonly value: number }
  | { readonly do: "insert"; readonly value: number; readonly at: number }
  | { readonly do: "shift" | "clear" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant("push"), value: fc.nat(9) } as const) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("insert"), value: fc.nat(9), at: fc.nat(99) } as const),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("shift") } as const) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove"), value: fc.nat(9) } as const) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clear") } as const) },
);

test("behaves as an array does, whatever the order of operations", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const deque = new Deque<number>();
      let model: number[] = [];
      for (const each of steps) {
        switch (each.do) {
          case "push":
            deque.push(each.value);
            model.push(each.value);
            break;
          case "insert": {
            const index = each.at % (model.length + 1);
            deque.insert(index, each.value);
            model.splice(index, 0, each.value);
            break;
          }
          case "shift":
            expect(deque.shift()).toBe(model.shift());
            break;
          case "remove":
            deque.remove(each.value);
            model = model.filter((value) => value !== each.value);
            break;
          case "clear":
            deque.clear();
            model = [];
            break;
          default:
            each satisfies never;
        }
        expect(deque.length).toBe(model.length);
        expect(deque.first()).toBe(model[0]);
      }
      expect(Array.from(model, () => deque.shift())).toEqual(model);
    }),
  );
});

test("finds the first value that satisfies a monotonous predicate, also across the ring's end", () => {
  const deque = new Deque<number>();
  for (let i = 0; i < 12; i += 1) deque.push(-1);
  for (let i = 0; i < 12; i += 1) deque.shift();
  for (let i = 0; i < 10; i += 1) deque.push(i);
  expect(deque.search((value) => value >= 6)).toBe(6);
  expect(deque.search(() => false)).toBe(10);
  expect(deque.search(() => true)).toBe(0);
});

test("keeps its order through a burst that outgrows the ring many times", () => {
  const deque = new Deque<number>();
  for (let i = 0; i < 20_000; i += 1) deque.push(i);
  const seen = Array.from({ length: 20_000 }, () => deque.shift());
  expect(seen.every((value, i) => value === i)).toBe(true);
  expect(deque.shift()).toBeUndefined();
});
