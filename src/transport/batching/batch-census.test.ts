import { expect, it, vi } from "vitest";
import { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import { fakeClient } from "../session/fake-client.test-support.ts";
import { BatchCensus } from "./batch-census.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A broker whose queues for calls and for batches have so many consumers. */
function counted(calls: number | undefined, batches: number | undefined) {
  const counts = { calls, batches };
  const inspectQueue = vi.fn<AmqpClient["inspectQueue"]>(async (name) => {
    const consumers = name.endsWith(".batch") ? counts.batches : counts.calls;
    return consumers === undefined ? undefined : { messages: 0, consumers };
  });
  const connection: { client: AmqpClient | undefined; readonly namespace: Namespace } = {
    client: fakeClient({ inspectQueue }),
    namespace: new Namespace("confluo"),
  };
  const census = new BatchCensus("s", connection);
  const asked = async (): Promise<boolean> => {
    void census.allTake;
    await turn();
    return census.allTake;
  };
  const lose = (): void => {
    connection.client = undefined;
    census.forget();
  };
  return { census, counts, asked, inspectQueue, lose };
}

it("says that all take batches when the queue for batches has as many consumers as the queue for calls", async () => {
  for (const [calls, batches, allTake] of [
    [1, 1, true],
    [3, 3, true],
    [2, 3, true], // one that leaves ends the other consumer first
    [2, 1, false],
    [0, 0, false],
    [1, undefined, false],
    [undefined, 1, true],
  ] as const)
    expect(await counted(calls, batches).asked()).toBe(allTake);
});

it("says no until the broker has answered, and when it refuses to", async () => {
  expect(counted(1, 1).census.allTake).toBe(false);
  const { asked, inspectQueue } = counted(1, 1);
  inspectQueue.mockRejectedValue(new Error("refused"));
  expect(await asked()).toBe(false);
});

it("asks the broker every five seconds while all take batches, else every second, and only when it is asked", async () => {
  const now = vi.spyOn(performance, "now").mockReturnValue(0);
  try {
    const { counts, asked, inspectQueue } = counted(2, 1);
    const asksAt = async (at: number): Promise<number> => {
      now.mockReturnValue(at);
      inspectQueue.mockClear();
      await asked();
      return inspectQueue.mock.calls.length / 2;
    };
    expect([await asksAt(0), await asksAt(999), await asksAt(1_000)]).toEqual([1, 0, 1]);
    counts.batches = 2;
    expect([await asksAt(2_000), await asksAt(6_999), await asksAt(7_000)]).toEqual([1, 0, 1]);
    // Nobody asked for a while: an old answer is not taken for a present one.
    now.mockReturnValue(20_000);
    expect(counted(1, 1).census.allTake).toBe(false);
  } finally {
    now.mockRestore();
  }
});

it("forgets what it knows with the connection", async () => {
  const { census, asked, lose } = counted(1, 1);
  expect(await asked()).toBe(true);
  lose();
  expect(census.allTake).toBe(false);
  expect(await asked()).toBe(false);
});
