import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TurnBuffer } from "./turn-buffer.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function collecting({ bytes = 100, isEager = false, most = 16 } = {}) {
  const sent: (readonly string[])[] = [];
  const buffer = new TurnBuffer<string>({ bytes, isEager, send: (items) => void sent.push(items) });
  const add = (...items: readonly string[]): void => {
    for (const item of items) buffer.add(item, item.length, most);
  };
  return { sent, add, buffer };
}

describe("what comes alone in its turn", () => {
  it("goes at once", async () => {
    const { sent, add } = collecting();
    for (const item of ["a", "b", "c"]) {
      add(item);
      expect(sent.at(-1)).toEqual([item]);
      await turn();
    }
    expect(sent).toEqual([["a"], ["b"], ["c"]]);
  });

  it("waits for the turn's end after a turn that had more, and goes at once after the next", async () => {
    const { sent, add } = collecting();
    add("a", "b");
    await turn();
    add("c");
    expect(sent).toEqual([["a"], ["b"]]);
    await turn();
    expect(sent.at(-1)).toEqual(["c"]);
    add("d");
    expect(sent.at(-1)).toEqual(["d"]);
  });

  it("waits for the turn's end if the buffer is eager", async () => {
    const { sent, add } = collecting({ isEager: true });
    add("a");
    expect(sent).toEqual([]);
    await turn();
    expect(sent).toEqual([["a"]]);
  });
});

describe("what comes with others in its turn", () => {
  it("goes together at the turn's end, but for the first after turns that had one", async () => {
    const { sent, add } = collecting();
    add("a", "b", "c");
    expect(sent).toEqual([["a"]]);
    await turn();
    expect(sent).toEqual([["a"], ["b", "c"]]);
    add("d", "e");
    await turn();
    expect(sent.at(-1)).toEqual(["d", "e"]);
  });

  it("goes as soon as there are as many as may go together", async () => {
    const { sent, add } = collecting({ isEager: true, most: 2 });
    add("a", "b", "c", "d", "e");
    expect(sent).toEqual([
      ["a", "b"],
      ["c", "d"],
    ]);
    await turn();
    expect(sent.at(-1)).toEqual(["e"]);
  });

  it("goes before one that would be too much for it, whose turn is not over yet", async () => {
    const { sent, add } = collecting({ isEager: true, bytes: 5 });
    add("aa", "bb", "cc", "d");
    expect(sent).toEqual([["aa", "bb"]]);
    await turn();
    expect(sent).toEqual([
      ["aa", "bb"],
      ["cc", "d"],
    ]);
  });

  it("goes when it is told to, and never again", async () => {
    const { sent, add, buffer } = collecting({ isEager: true });
    add("a", "b");
    buffer.flush();
    buffer.flush();
    expect(sent).toEqual([["a", "b"]]);
    add("c");
    await turn();
    await turn();
    expect(sent).toEqual([["a", "b"], ["c"]]);
  });

  it("may come while others go", async () => {
    const sent: (readonly number[])[] = [];
    const buffer: TurnBuffer<number> = new TurnBuffer<number>({
      bytes: 100,
      isEager: true,
      send: (items) => {
        sent.push(items);
        const [first] = items;
        if (first < 3) buffer.add(first + 1, 1, 16);
      },
    });
    buffer.add(1, 1, 16);
    for (let turns = 0; turns < 4; turns += 1) await turn();
    expect(sent).toEqual([[1], [2], [3]]);
  });
});

it("sends everything once, in order, and no more together than may go", async () => {
  const item = fc.record({ size: fc.integer({ min: 0, max: 12 }), most: fc.integer({ min: 1, max: 5 }) });
  const step = fc.oneof(
    { weight: 5, arbitrary: item },
    { weight: 1, arbitrary: fc.constantFrom("turn", "flush") },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.boolean(), async (steps, isEager) => {
      interface Item {
        readonly n: number;
        readonly size: number;
        readonly most: number;
      }
      const sent: (readonly Item[])[] = [];
      const buffer = new TurnBuffer<Item>({
        bytes: 20,
        isEager,
        send: (items) => void sent.push(items),
      });
      for (const [n, each] of steps.entries()) {
        if (each === "turn") await turn();
        else if (each === "flush") buffer.flush();
        else buffer.add({ n, ...each }, each.size, each.most);
      }
      await turn();
      const added = steps.flatMap((each, n) => (typeof each === "string" ? [] : [n]));
      expect(sent.flat().map(({ n }) => n)).toEqual(added);
      for (const items of sent) {
        expect(items.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(20);
        const last = items.at(-1);
        // What came with a larger limit may be there already.
        const most = Math.max(...items.slice(0, -1).map((each) => each.most), last?.most ?? 0);
        expect(items.length).toBeLessThanOrEqual(most);
      }
    }),
  );
});
