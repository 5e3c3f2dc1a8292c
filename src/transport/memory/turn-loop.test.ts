import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate } from "node:timers";
import { afterEach, expect, test, vi } from "vitest";
import { TurnLoop, type TurnTask } from "./turn-loop.ts";

afterEach(() => {
  vi.useRealTimers();
});

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

class Countdown implements TurnTask {
  scheduled = false;
  readonly limits: number[] = [];
  left: number;

  constructor(left: number) {
    this.left = left;
  }

  run(limit: number): boolean {
    this.limits.push(limit);
    this.left -= Math.min(limit, this.left);
    return this.left > 0;
  }
}

test("calls nothing before the next turn", async () => {
  const task = new Countdown(1);
  new TurnLoop().schedule(task);
  await Promise.resolve();
  expect(task.limits).toEqual([]);
  await nextTurn();
  expect(task.left).toBe(0);
  expect(task.scheduled).toBe(false);
});

test("runs a task once a turn, however often it was scheduled", async () => {
  const loop = new TurnLoop();
  const task = new Countdown(1);
  loop.schedule(task);
  loop.schedule(task);
  await nextTurn();
  expect(task.limits).toHaveLength(1);
});

test("shares a bounded number of callbacks among the tasks and gives the rest to later turns", async () => {
  const loop = new TurnLoop();
  const tasks = [new Countdown(1000), new Countdown(1), new Countdown(1)];
  for (const task of tasks) loop.schedule(task);
  await nextTurn();
  const [large] = tasks;
  expect(large?.limits).toEqual([86]);
  await nextTurn();
  expect(large?.limits).toEqual([86, 256]);
  expect(tasks.map((task) => task.limits.length)).toEqual([2, 1, 1]);
});

test("lets other events in between the turns of a task that never ends", async () => {
  const loop = new TurnLoop();
  const endless: TurnTask = { scheduled: false, run: () => isEndless };
  let isEndless = true;
  loop.schedule(endless);
  await new Promise((resolve) => setTimeout(resolve, 0));
  isEndless = false;
  await nextTurn();
  expect(endless.scheduled).toBe(false);
});

test("goes on under fake timers", async () => {
  vi.useFakeTimers();
  const task = new Countdown(1);
  new TurnLoop().schedule(task);
  await nextTurn();
  expect(task.left).toBe(0);
});

test("makes all callbacks outside of the context of whoever scheduled the first", async () => {
  const tenants = new AsyncLocalStorage<string>();
  const loop = new TurnLoop();
  const seen: unknown[] = [];
  const task = (): TurnTask => ({
    scheduled: false,
    run: () => {
      seen.push(tenants.getStore());
      return false;
    },
  });
  for (const tenant of ["a", "b"]) tenants.run(tenant, () => loop.schedule(task()));
  await nextTurn();
  expect(seen).toEqual([undefined, undefined]);
});
