import { describe, expect, it, vi } from "vitest";
import type { Connection } from "./connection.ts";
import { ManagementChannels } from "./management-channels.ts";

interface Opened {
  isClosed: boolean;
  onClose: () => void;
}

/** Requests that the test answers, on a connection that counts its channels. */
function controls() {
  const opened: Opened[] = [];
  const limit = { channels: Number.POSITIVE_INFINITY };
  const connection = {
    channel: async () => {
      const isOpen = opened.filter(({ isClosed }) => !isClosed);
      if (isOpen.length >= limit.channels) throw new Error("No channels left to allocate");
      const channel = {
        isClosed: false,
        onClose: (): void => undefined,
        close: async () => {
          channel.isClosed = true;
        },
        on: (event: string, listener: () => void) => {
          if (event === "close") channel.onClose = listener;
        },
      };
      opened.push(channel);
      return channel;
    },
    answeredOrAlive: <Value>(_what: string, request: Promise<Value>): Promise<Value> => request,
  } as unknown as Connection;
  const all = new ManagementChannels(connection);
  const asked: { readonly on: unknown; answer(): void; refuse(): void }[] = [];
  const ask = (): Promise<void> =>
    all.run("do it", (channel) => {
      return new Promise((answer, reject) => {
        asked.push({ on: channel, answer, refuse: () => reject(new Error("PRECONDITION_FAILED")) });
      });
    });
  return { all, ask, asked, opened, limit };
}

const turn = (): Promise<void> => new Promise(setImmediate);

describe("what is asked of the broker", () => {
  it("uses one channel where one thing follows the other", async () => {
    const { ask, asked, opened } = controls();
    for (let n = 0; n < 3; n += 1) {
      const asking = ask();
      await turn();
      asked[n]?.answer();
      await asking;
    }
    expect(opened).toHaveLength(1);
  });

  it("is asked together up to a bound, and one at a time on each channel", async () => {
    const { ask, asked, opened } = controls();
    const all = Promise.all(Array.from({ length: 10 }, ask));
    await turn();
    expect([asked.length, opened.length]).toEqual([4, 4]);
    expect(new Set(asked.map(({ on }) => on)).size).toBe(4);
    for (let n = 0; n < 10; n += 1) {
      asked[n]?.answer();
      await turn();
    }
    await all;
    expect(opened).toHaveLength(4);
  });

  it("takes nothing else along when it is refused", async () => {
    const { ask, asked, opened } = controls();
    const [refused, ...others] = Array.from({ length: 6 }, ask);
    await turn();
    asked[0]?.refuse();
    await expect(refused).rejects.toMatchObject({
      message: expect.stringContaining("to do it: PRECONDITION_FAILED"),
    });
    for (let n = 1; n < 6; n += 1) {
      asked[n]?.answer();
      await turn();
    }
    await Promise.all(others);
    expect(opened.map(({ isClosed }) => isClosed)).toEqual([true, false, false, false, false]);
  });

  it("is asked on a channel that is open: the end of one that was given up is not that of its successor", async () => {
    const { ask, asked, opened } = controls();
    const answered = async (): Promise<void> => {
      const asking = ask();
      await turn();
      asked.at(-1)?.answer();
      await asking;
    };
    const refused = ask();
    await turn();
    asked[0]?.refuse();
    await expect(refused).rejects.toThrow();
    await answered();
    opened[0]?.onClose();
    await answered();
    expect(opened).toHaveLength(2);
    opened[1]?.onClose();
    await answered();
    expect(opened).toHaveLength(3);
  });

  it("leaves one channel open where nothing is asked, and opens the others again", async () => {
    const { all, ask, asked, opened } = controls();
    const askFour = async (): Promise<void> => {
      const from = asked.length;
      const asking = Promise.all([1, 2, 3, 4].map(ask));
      await turn();
      for (const { answer } of asked.slice(from)) answer();
      await asking;
    };
    const openNow = (): number => opened.filter(({ isClosed }) => !isClosed).length;
    await askFour();
    all.rest();
    expect(openNow()).toBe(4);
    all.rest();
    await turn();
    expect([openNow(), opened[0]?.isClosed]).toEqual([1, false]);
    await askFour();
    expect(openNow()).toBe(4);
  });

  it("keeps the channel of a request that is not answered yet", async () => {
    const { all, ask, asked, opened } = controls();
    const asking = Promise.all([ask(), ask()]);
    await turn();
    all.rest();
    all.rest();
    await turn();
    expect(opened.map(({ isClosed }) => isClosed)).toEqual([false, false]);
    for (const { answer } of asked) answer();
    await asking;
  });

  it("asks one thing after the other where the connection has no more channels", async () => {
    const { ask, asked, opened, limit } = controls();
    limit.channels = 1;
    const asking = Promise.all([1, 2, 3].map(ask));
    for (let n = 0; n < 3; n += 1) {
      await vi.waitFor(() => expect(asked).toHaveLength(n + 1));
      asked[n]?.answer();
    }
    await asking;
    expect(opened).toHaveLength(1);
  });
});
