import { afterEach, describe, expect, it, vi } from "vitest";
import { callsIn } from "../../protocol/batch.ts";
import { EncodedMessage, encodeBody, header } from "../../protocol/codec.ts";
import { readEnvelope } from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import { Namespace } from "../../protocol/topology.ts";
import type { Batching, Rejection, Settled } from "../transport.ts";
import { CallBatcher } from "./call-batcher.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

afterEach(() => void vi.restoreAllMocks());

function asksForBatches(message: Message): boolean {
  return readEnvelope(message, { lane: "calls", eventKey: undefined, newId: () => "new" }).asksForBatches;
}

interface Sent {
  readonly service: string;
  readonly message: Message;
  readonly settled: Settled;
  readonly to: "calls" | "batches";
}

function gatherer(batching: Partial<Batching> = {}) {
  const sent: Sent[] = [];
  const calls = new CallBatcher(
    { maxCalls: 16, maxBytes: 65_536, isEager: false, ...batching },
    new Namespace("confluo"),
    {
      publishTo: (queue, message, settled) => {
        const [, service = "", , batch] = queue.split(".");
        sent.push({ service, message, settled, to: batch === undefined ? "calls" : "batches" });
      },
    },
  );
  let n = 0;
  const settled: (readonly [id: string, rejection: Rejection | undefined])[] = [];
  /** @returns its id. */
  const call = (value: unknown = 1, { ms = 5_000, service = "s" } = {}): string => {
    n += 1;
    const id = `c${n}`;
    const encoded = encodeBody(value);
    const { contentType } = encoded;
    const properties = { contentType, correlationId: id, type: "/", replyTo: "q", expiration: String(ms) };
    calls.call(
      service,
      new EncodedMessage(encoded, properties),
      (rejection) => void settled.push([id, rejection]),
    );
    return id;
  };
  /** The ids of each message. */
  const ids = (): readonly (readonly string[])[] =>
    sent.map(({ message }) => (callsIn(message) ?? [message]).map(idOf));
  return { calls, call, sent, ids, settled };
}

function idOf({ properties }: Message): string {
  return properties.correlationId ?? "";
}

/** One whose service has said that it takes so many, in a turn that had more than one call for it. */
async function informed(takes: number, batching: Partial<Batching> = {}) {
  const made = gatherer(batching);
  made.call();
  made.calls.learn("s", takes);
  for (let n = 0; n < 2; n += 1) made.call();
  await turn();
  made.sent.length = 0;
  return made;
}

describe("calls to a service that has said nothing", () => {
  it("go by themselves, at once", async () => {
    const { call, ids } = gatherer();
    for (let n = 0; n < 20; n += 1) call();
    expect(ids()).toHaveLength(20);
    await turn();
    expect(ids()).toHaveLength(20);
  });

  it("ask it how many it takes, not more often than every 50 ms", () => {
    const now = vi.spyOn(performance, "now").mockReturnValue(1_000);
    const { call, sent } = gatherer({ maxCalls: 8 });
    for (const at of [1_000, 1_001, 1_049, 1_050, 1_051, 9_000]) {
      now.mockReturnValue(at);
      call();
    }
    expect(sent.map(({ message }) => asksForBatches(message))).toEqual([
      true,
      false,
      false,
      true,
      false,
      true,
    ]);
  });

  it("ask each service for itself", () => {
    const { call, sent } = gatherer();
    for (const service of ["a", "b", "a"]) call(1, { service });
    expect(sent.map(({ service, message }) => [service, asksForBatches(message)])).toEqual([
      ["a", true],
      ["b", true],
      ["a", false],
    ]);
  });

  it("do not change for what a service says that was never called", async () => {
    const { calls, call, ids } = gatherer();
    calls.learn("s", 16);
    for (let n = 0; n < 3; n += 1) call();
    await turn();
    expect(ids()).toHaveLength(3);
  });
});

describe("calls to a service that takes several", () => {
  it("go together at the turn's end, as many as both sides take", async () => {
    for (const [calls, takes, most] of [
      [16, 5, 5],
      [4, 9, 4],
    ] as const) {
      const { call, sent, ids } = await informed(takes, { maxCalls: calls });
      const made = Array.from({ length: 12 }, () => call());
      await turn();
      expect(ids().flat()).toEqual(made);
      expect(ids().map((each) => each.length)).toEqual(most === 5 ? [5, 5, 2] : [4, 4, 4]);
      expect(sent.every(({ service }) => service === "s")).toBe(true);
    }
  });

  it("go by themselves again once it takes one by one", async () => {
    const { calls, call, ids } = await informed(16);
    calls.learn("s", 1);
    for (let n = 0; n < 3; n += 1) call();
    expect(ids()).toHaveLength(3);
  });

  it("do not wait for others when they cannot travel with them", async () => {
    const { call, sent, ids } = await informed(16, { maxBytes: 1_024 });
    const [small, bytes, large, last] = [call(), call(new Uint8Array(1)), call("x".repeat(200)), call()];
    expect(ids()).toEqual([[bytes], [large]]);
    await turn();
    expect(ids()).toEqual([[bytes], [large], [small, last]]);
    expect(sent[0]?.message.properties.contentType).toBe("application/octet-stream");
  });

  it("hold no more bytes together than they may", async () => {
    const { call, sent } = await informed(16, { maxBytes: 1_024 });
    for (let n = 0; n < 30; n += 1) call("x".repeat(98));
    await turn();
    expect(sent.map(({ message }) => callsIn(message)?.length)).toEqual([10, 10, 10]);
  });

  it("are told together what became of their message, each once", async () => {
    const { call, sent, settled } = await informed(16);
    const made = [call(), call(), call()];
    await turn();
    expect(sent).toHaveLength(1);
    sent[0]?.settled("refused");
    expect(settled).toEqual(made.map((id) => [id, "refused"]));
  });

  it("go by themselves when no queue for batches is there any more, and so do the next for a second", async () => {
    const now = vi.spyOn(performance, "now").mockReturnValue(1_000);
    const { calls, call, sent, ids, settled } = await informed(16);
    const made = [call(), call(), call()];
    await turn();
    expect(sent.map(({ to }) => to)).toEqual(["batches"]);
    settled.length = 0;
    sent[0]?.settled("returned");
    expect(ids().slice(1)).toEqual(made.map((id) => [id]));
    expect(settled).toEqual([]);
    const singly = async (at: number): Promise<boolean> => {
      now.mockReturnValue(at);
      calls.learn("s", 16);
      sent.length = 0;
      for (let n = 0; n < 4; n += 1) call();
      await turn();
      return sent.every(({ to }) => to === "calls");
    };
    expect(await singly(1_001)).toBe(true);
    expect(await singly(1_999)).toBe(true);
    expect(await singly(2_000)).toBe(false);
  });

  it("travel only with those that expire with them, give or take a tenth", async () => {
    const { call, ids } = await informed(16);
    const patience = [1_000, 1_100, 1_050, 909, 5_000, 5_400, 100, 100, 30_000];
    const made = patience.map((ms) => call(1, { ms }));
    await turn();
    expect(ids().flat()).toEqual(made);
    const spans = ids().map((group) => group.map((id) => patience[made.indexOf(id)] ?? 0));
    for (const span of spans) expect(Math.max(...span)).toBeLessThanOrEqual(1.1 * Math.min(...span));
    expect(spans).toEqual([[1_000, 1_100, 1_050], [909], [5_000, 5_400], [100, 100], [30_000]]);
  });

  it("travel only with those that expire with them also after a message that was full", async () => {
    const { call, ids } = await informed(16, { maxBytes: 1_024 });
    const body = "x".repeat(126);
    const full = Array.from({ length: 8 }, () => call(body, { ms: 100 }));
    const [short, long] = [call(body, { ms: 100 }), call(body, { ms: 5_000 })];
    await turn();
    expect(ids()).toEqual([full, [short], [long]]);
  });

  it("hold no more bytes together than they may, whatever characters they have", async () => {
    const { call, sent } = await informed(16, { maxBytes: 1_024 });
    for (let n = 0; n < 30; n += 1) call("€".repeat(40));
    await turn();
    expect(sent.map(({ message }) => callsIn(message)?.length)).toEqual([8, 8, 8, 6]);
  });

  it("go at once when the service is left", async () => {
    const { calls, call, ids } = await informed(16);
    const made = [call(), call()];
    expect(ids()).toEqual([]);
    calls.flush();
    expect(ids()).toEqual([made]);
  });
});

it("goes alone and at once, as a single call, while there is one a turn", async () => {
  const { call, sent } = await informed(16);
  await turn();
  const before = call(); // the turn before had more
  await turn();
  const id = call();
  expect(sent.map(({ message }) => idOf(message))).toEqual([before, id]);
  expect(sent[1]?.message.properties.type).toBe("/");
});

it("passes calls on as they are if they are to go one by one", () => {
  for (const isEager of [true, false]) {
    const { calls, call, sent } = gatherer({ maxCalls: 1, isEager });
    call();
    calls.learn("s", 16);
    call();
    expect(sent.map(({ message }) => message.properties.headers)).toEqual([undefined, undefined]);
    expect(sent.map(({ message }) => message)).toEqual([
      expect.any(EncodedMessage),
      expect.any(EncodedMessage),
    ]);
  }
});

it("gathers what comes alone, too, and asks nobody, if it is eager", async () => {
  const { call, sent } = gatherer({ isEager: true });
  call();
  expect(sent).toEqual([]);
  await turn();
  expect(sent.map(({ message }) => callsIn(message)?.length)).toEqual([1]);
  expect(sent[0]?.message.properties.headers?.[header.gather]).toBeUndefined();
});

it("keeps the deadline of a call that found no room beside those before it", () => {
  const { calls, call, ids } = gatherer({ isEager: true, maxBytes: 1_024 });
  for (let i = 0; i < 9; i += 1) call("x".repeat(118), { ms: 20_000 });
  call(1, { ms: 50 });
  calls.flush();
  expect(ids().map(({ length }) => length)).toEqual([8, 1, 1]);
});

it("sends calls one by one again when a service has not said for a while that it takes more", async () => {
  const { calls, call, ids } = gatherer();
  call();
  calls.learn("s", 16);
  call();
  await turn();
  for (let i = 0; i < 4; i += 1) call();
  await turn();
  expect(ids().at(-1)).toHaveLength(3); // the first went at once
  const now = performance.now();
  vi.spyOn(performance, "now").mockReturnValue(now + 600);
  for (let i = 0; i < 4; i += 1) call();
  await turn();
  expect(
    ids()
      .slice(-4)
      .map(({ length }) => length),
  ).toEqual([1, 1, 1, 1]);
});

it("sends calls one by one that were too large for the broker together", async () => {
  const { call, sent, ids, settled } = await informed(16);
  const [a, b, c] = [call(), call(), call()];
  await turn();
  expect(ids()).toEqual([[a, b, c]]);
  settled.length = 0;
  sent[0]?.settled("too-large");
  expect(ids()).toEqual([[a, b, c], [a], [b], [c]]);
  expect(settled).toEqual([]);
  sent[1]?.settled();
  sent[2]?.settled("too-large");
  expect(settled).toEqual([
    [a, undefined],
    [b, "too-large"],
  ]);
});
