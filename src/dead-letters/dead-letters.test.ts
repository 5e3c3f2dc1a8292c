import { describe, expect, it, vi } from "vitest";
import { ConfluoError } from "../errors.ts";
import { Namespace } from "../protocol/topology.ts";
import type { AmqpClient, AmqpDelivery, PublishFailure } from "../transport/amqp-client.ts";
import { breakableClient } from "../transport/session/fake-client.test-support.ts";
import { DeadLetters } from "./dead-letters.ts";
import type { DeadLetterRecord } from "./letter-record.ts";

/** Letters of one service over a wire that a test plays the broker of: `n` of them, delivered at once. */
function lettersOver(n: number, own: Partial<AmqpClient> = {}, returns = 0) {
  const acked: string[] = [];
  const events: string[] = [];
  let held = 0;
  const { client: wire, lose } = breakableClient({
    inspectQueue: async () => ({ messages: n - held, consumers: 0 }),
    consume: async ({ onDelivery }) => {
      setImmediate(() => {
        for (; held < n; held += 1) onDelivery(delivery(`m-${held}`, acked, returns));
      });
      return {
        cancel: async () => void events.push("cancel"),
        close: async () => {
          events.push("close");
          held = 0;
        },
      };
    },
    close: async () => void events.push("closed"),
    ...own,
  });
  const namespace = new Namespace("c");
  const letters = new DeadLetters({
    queue: namespace.dead("s"),
    target: namespace.inbox("s"),
    namespace,
    open: async () => wire,
    newId: () => "new",
  });
  return { letters, acked, events, lose };
}

function delivery(messageId: string, acked: string[], returns = 0): AmqpDelivery {
  const headers = returns === 0 ? {} : { headers: { "x-delivery-count": returns } };
  return {
    message: { body: new Uint8Array(0), properties: { messageId, type: "/t", ...headers } },
    queue: "c.s.dead",
    exchange: "",
    key: "c.s.dead",
    redelivered: returns > 0,
    hold: "held",
    ack: () => void acked.push(messageId),
    requeue: () => expect.unreachable("single letters are not requeued"),
  };
}

describe("a replay", () => {
  it("acknowledges a letter after its copy was confirmed, and not before", async () => {
    const confirms: (() => void)[] = [];
    const publish = vi.fn<AmqpClient["publish"]>((_route, _message, settled) => void confirms.push(settled));
    const { letters, acked, events } = lettersOver(2, { publish });
    const replaying = letters.replay("all");
    await vi.waitFor(() => expect(confirms).toHaveLength(2));
    expect(acked).toEqual([]);
    confirms[1]?.();
    await vi.waitFor(() => expect(acked).toEqual(["m-1"]));
    confirms[0]?.();
    expect(await replaying).toBe(2);
    expect(acked).toEqual(["m-1", "m-0"]);
    expect(events).toEqual(["cancel", "close", "closed"]);
    expect(publish.mock.calls[0]?.[0]).toEqual({ exchange: "", key: "c.s.inbox" });
    expect(publish.mock.calls[0]?.[1].properties).toMatchObject({ mandatory: true, deliveryMode: 2 });
  });

  for (const [failure, code] of [
    ["returned", "NO_SUCH_SERVICE"],
    ["refused", "UNAVAILABLE"],
    ["too-large", "PAYLOAD_TOO_LARGE"],
    ["lost", "CONNECTION_LOST"],
  ] as const satisfies readonly (readonly [PublishFailure, string])[]) {
    it(`keeps a letter whose copy was ${failure}, and says how many went before`, async () => {
      let published = 0;
      const publish: AmqpClient["publish"] = (_route, _message, settled) => {
        published += 1;
        setImmediate(settled, published === 3 ? failure : undefined);
      };
      const { letters, acked, events } = lettersOver(3, { publish });
      await expect(letters.replay("all")).rejects.toMatchObject({ code, data: { replayed: 2 } });
      expect(acked).toEqual(["m-0", "m-1"]);
      expect(events).toEqual(["cancel", "close", "closed"]);
    });
  }

  it("ends at its deadline though the broker confirms nothing, and gives everything back", async () => {
    const { letters, acked, events } = lettersOver(2, { publish: () => undefined });
    const replaying = letters.replay("all", { timeoutMs: 50 });
    await expect(replaying).rejects.toMatchObject({ code: "TIMEOUT", data: { replayed: 0 } });
    await vi.waitFor(() => expect(events).toEqual(["cancel", "close", "closed"]), { timeout: 5_000 });
    expect(acked).toEqual([]);
  });

  it("ends when the connection breaks", async () => {
    const { letters, lose } = lettersOver(1, { publish: () => undefined });
    const replaying = letters.replay("all");
    setTimeout(() => lose(new ConfluoError("CONNECTION_LOST", "cut")), 20);
    await expect(replaying).rejects.toMatchObject({ code: "CONNECTION_LOST", data: { replayed: 0 } });
  });
});

describe("a listing", () => {
  it("ends when the queue is deleted under it", async () => {
    const gone = new ConfluoError("UNAVAILABLE", "gone");
    const { letters } = lettersOver(1, {
      consume: async ({ onCancelled }) => {
        setImmediate(onCancelled, gone);
        return { cancel: async () => undefined, close: async () => undefined };
      },
    });
    await expect(letters.list()).rejects.toBe(gone);
  });

  it("leaves a broker that says nothing any more", async () => {
    const never = new Promise<never>(() => undefined);
    const { letters, events } = lettersOver(1, { consume: () => never });
    await expect(letters.list({ timeoutMs: 30 })).rejects.toMatchObject({ code: "TIMEOUT" });
    const signal = AbortSignal.timeout(30);
    await expect(letters.list({ signal })).rejects.toMatchObject({ code: "CANCELLED" });
    await vi.waitFor(() => expect(events).toEqual(["closed", "closed"]), { timeout: 10_000 });
  });
});

describe("letters that came back before", () => {
  it("are acknowledged when their copies are confirmed, and not before", async () => {
    const confirms: (() => void)[] = [];
    const publish = vi.fn<AmqpClient["publish"]>((_route, _message, settled) => void confirms.push(settled));
    const { letters, acked, events } = lettersOver(2, { publish }, 1);
    const listing = letters.list();
    await vi.waitFor(() => expect(confirms).toHaveLength(2));
    expect(acked).toEqual([]);
    for (const confirm of confirms) confirm();
    expect((await listing).map(({ id }) => id)).toEqual(["m-0", "m-1"]);
    expect(acked).toEqual(["m-0", "m-1"]);
    expect(events.slice(0, 2)).toEqual(["cancel", "close"]);
    const [route, message] = publish.mock.calls[0] ?? [];
    expect(route).toEqual({ exchange: "", key: "c.s.dead" });
    expect(message?.properties).toMatchObject({
      type: "/t",
      messageId: "m-0",
      deliveryMode: 2,
    });
    expect(message?.properties.headers).toEqual({ "confluo-put-back": "new" });
  });

  it("go back by themselves if their copies are not taken, and without a copy each if none may be written", async () => {
    for (const [failure, copies] of [
      ["refused", 3],
      ["forbidden", 1],
    ] as const) {
      const publish = vi.fn<AmqpClient["publish"]>((_route, _message, settled) => settled(failure));
      const { letters, acked } = lettersOver(3, { publish }, 1);
      expect(await letters.list()).toHaveLength(3);
      expect(acked).toEqual([]);
      expect(publish).toHaveBeenCalledTimes(copies);
    }
  });

  it("are put back, too, when the broker does not take their replay", async () => {
    const publish = vi.fn<AmqpClient["publish"]>(({ key }, _message, settled) =>
      setImmediate(settled, key === "c.s.inbox" ? "returned" : undefined),
    );
    const { letters, acked } = lettersOver(2, { publish }, 3);
    await expect(letters.replay("all")).rejects.toMatchObject({ code: "NO_SUCH_SERVICE" });
    expect(acked.sort()).toEqual(["m-0", "m-1"]);
    expect(publish.mock.calls.filter(([{ key }]) => key === "c.s.dead")).toHaveLength(2);
  });
});

it("letters are shown to those who may consume them and may not look how many there are", async () => {
  const inspectQueue = vi.fn<AmqpClient["inspectQueue"]>(() =>
    Promise.reject(new ConfluoError("ACCESS_REFUSED", "no right")),
  );
  const { letters } = lettersOver(3, { inspectQueue });
  expect(await letters.list()).toHaveLength(3);
  await expect(letters.count()).rejects.toMatchObject({ code: "ACCESS_REFUSED" });
});

describe("an import", () => {
  const record = (messageId: string): DeadLetterRecord => ({
    letter: 1,
    id: messageId,
    key: "c.s.dead",
    properties: { messageId, type: "/t" },
    headers: {},
    body: { text: "" },
  });

  it("says how many were confirmed when it ends, and leaves out what lies there when it is repeated", async () => {
    let left = 2;
    const publish: AmqpClient["publish"] = (_route, _message, settled) => {
      left -= 1;
      setImmediate(settled, left < 0 ? "lost" : undefined);
    };
    const { letters } = lettersOver(1, { publish });
    const given = ["m-0", "m-1", "m-2", "m-3"].map(record);
    await expect(letters.import(given)).rejects.toMatchObject({
      code: "CONNECTION_LOST",
      message: expect.stringMatching(/^Letter 4 was not imported/),
      data: { imported: 2, present: 1 },
    });
  });

  it("imports nothing if one is no letter", async () => {
    const publish = vi.fn<AmqpClient["publish"]>();
    const { letters } = lettersOver(0, { publish });
    const bad = { ...record("b"), headers: { n: { int8: 200 } } } as unknown as DeadLetterRecord;
    await expect(letters.import([record("a"), bad])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^Letter 2: header "n"/),
    });
    expect(publish).not.toHaveBeenCalled();
  });
});
