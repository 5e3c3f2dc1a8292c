import fc from "fast-check";
import { expect, it } from "vitest";
import { SlotSet } from "./slot-set.ts";

const item = (name: string) => ({ name, slot: -1 });

it("holds what was added, until it is taken out", () => {
  const bag = new SlotSet<ReturnType<typeof item>>();
  const [a, b, c] = ["a", "b", "c"].map(item) as [ReturnType<typeof item>, ...ReturnType<typeof item>[]];
  for (const each of [a, b, c]) if (each !== undefined) bag.add(each);
  expect(bag.size).toBe(3);
  expect(bag.delete(a)).toBe(true);
  expect(a.slot).toBeLessThan(0);
  expect(
    bag
      .list()
      .map(({ name }) => name)
      .toSorted(),
  ).toEqual(["b", "c"]);
  expect(bag.find(({ name }) => name === "c")).toBe(c);
  expect(bag.find(({ name }) => name === "a")).toBeUndefined();
});

it("takes nothing out that is not in it", () => {
  const [bag, other] = [new SlotSet<ReturnType<typeof item>>(), new SlotSet<ReturnType<typeof item>>()];
  const [here, there, never] = ["here", "there", "never"].map(item) as [
    ReturnType<typeof item>,
    ReturnType<typeof item>,
    ReturnType<typeof item>,
  ];
  bag.add(here);
  other.add(there);
  for (const each of [there, never]) expect(bag.delete(each)).toBe(false);
  expect(bag.delete(here)).toBe(true);
  expect(bag.delete(here)).toBe(false);
  expect([bag.size, other.size]).toEqual([0, 1]);
  expect(other.delete(there)).toBe(true);
});

it("lists what is in it at the moment, whatever comes and goes after", () => {
  const bag = new SlotSet<ReturnType<typeof item>>();
  const all = ["a", "b", "c"].map(item);
  for (const each of all) bag.add(each);
  const list = bag.list();
  for (const each of list) expect(bag.delete(each)).toBe(true);
  expect([list.length, bag.size]).toEqual([3, 0]);
});

it("is a set, whatever is added and taken out", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 100 }), (steps) => {
      const items = Array.from({ length: 10 }, (_, n) => item(`${n}`));
      const bag = new SlotSet<ReturnType<typeof item>>();
      const model = new Set<ReturnType<typeof item>>();
      for (const n of steps) {
        const each = items[n] as ReturnType<typeof item>;
        if (model.has(each)) {
          expect(bag.delete(each)).toBe(model.delete(each));
        } else {
          expect(bag.delete(each)).toBe(false);
          bag.add(each);
          model.add(each);
        }
        expect(bag.size).toBe(model.size);
        expect(new Set(bag.list())).toEqual(model);
      }
    }),
  );
});

it("looks at no slots of a burst that is over", () => {
  const bag = new SlotSet<ReturnType<typeof item>>();
  const burst = Array.from({ length: 1_000 }, (_, n) => item(`${n}`));
  for (const each of burst) bag.add(each);
  for (const each of burst) bag.delete(each);
  const late = item("late");
  bag.add(late);
  expect(late.slot).toBe(0);
  expect(bag.list()).toEqual([late]);
});
