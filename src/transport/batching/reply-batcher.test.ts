import { describe, expect, it, vi } from "vitest";
import { batchLimitOf, REPLIES_TYPE, repliesIn } from "../../protocol/batch.ts";
import { header } from "../../protocol/codec.ts";
import type { Message } from "../../protocol/message.ts";
import { encodeErrorReply, encodeReply } from "../../protocol/reply.ts";
import type { Batching } from "../transport.ts";
import { DirectReturns, ReplyBatcher } from "./reply-batcher.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function gatherer(batching: Partial<Batching> = {}, census = { allTake: true }) {
  const posted: { readonly to: string; readonly message: Message; readonly tooLarge: unknown }[] = [];
  const limit = { current: 7, answered: 0 };
  const replies = new ReplyBatcher({
    service: "s",
    batching: { maxCalls: 16, maxBytes: 65_536, isEager: false, ...batching },
    limit,
    census,
    connection: { client: { post: (to, message, tooLarge) => void posted.push({ to, message, tooLarge }) } },
    directReturns: { mayAnswer: () => true },
  });
  let n = 0;
  /** @returns its id. */
  const reply = (to: string, body: unknown = 1): string => {
    n += 1;
    const id = `r${n}`;
    replies.reply(to, encodeReply(id, { status: 200, headers: {}, body }));
    return id;
  };
  const ids = (to: string): readonly (readonly unknown[])[] =>
    posted.filter((each) => each.to === to).map(({ message }) => idsIn(message));
  return { replies, reply, posted, limit, ids };
}

function idsIn(message: Message): readonly unknown[] {
  const entries = repliesIn(message);
  if (entries === undefined) return [message.properties.correlationId];
  return entries.map((entry) => (entry.kind === "reply" ? entry.reply.properties.correlationId : undefined));
}

it("posts what a requester gets that has not asked, as it is and at once", async () => {
  const { replies, posted } = gatherer();
  const tooLarge = (): void => undefined;
  const messages = [1, 2, 3].map((body) => encodeReply(`${body}`, { status: 200, headers: {}, body }));
  for (const message of messages) replies.reply("q", message, tooLarge);
  expect(posted).toEqual(messages.map((message) => ({ to: "q", message, tooLarge })));
  await turn();
  expect(posted).toHaveLength(3);
});

it("posts what one turn has for a requester that has asked together, and for each apart", async () => {
  const { replies, reply, ids, posted } = gatherer();
  for (const to of ["a", "b"]) replies.heard(to);
  const [a1, b1, a2, a3, b2] = ["a", "b", "a", "a", "b"].map((to) => reply(to));
  // The first of a turn goes at once, if the turn before had no more.
  expect([ids("a"), ids("b")]).toEqual([[[a1]], [[b1]]]);
  await turn();
  expect([ids("a"), ids("b")]).toEqual([
    [[a1], [a2, a3]],
    [[b1], [b2]],
  ]);
  expect(posted.some(({ message }) => message.properties.contentType === REPLIES_TYPE)).toBe(true);
});

it("tells how many wait for the end of the turn", async () => {
  const { replies, reply } = gatherer();
  for (const to of ["a", "b"]) replies.heard(to);
  for (const to of ["a", "a", "a", "b", "c"]) reply(to);
  expect(replies.waiting).toBe(2);
  await turn();
  expect(replies.waiting).toBe(0);
  for (const to of ["a", "a", "b"]) reply(to);
  expect(replies.waiting).toBe(2);
  replies.close();
  expect(replies.waiting).toBe(0);
});

it("says once for each question how many calls are welcome, and whose reply it is", async () => {
  const { replies, reply, posted } = gatherer();
  replies.heard("a");
  reply("a");
  reply("a");
  reply("a");
  await turn();
  replies.heard("a");
  replies.heard("a");
  reply("a");
  reply("a");
  await turn();
  const told = posted.map(({ message }) => [batchLimitOf(message), message.properties.appId]);
  expect(told).toEqual([
    [7, "s"],
    [undefined, undefined],
    [7, "s"],
  ]);
});

it("does not say the same again to one whose batches ask, for a while", async () => {
  vi.useFakeTimers();
  try {
    const census = { allTake: true };
    const { replies, reply, posted } = gatherer({}, census);
    const told = (): unknown => batchLimitOf(posted.at(-1)?.message as Message);
    const askedByBatch = (): unknown => {
      replies.heardByBatch("a");
      reply("a");
      vi.advanceTimersByTime(1);
      return told();
    };
    expect([askedByBatch(), askedByBatch()]).toEqual([7, undefined]);
    census.allTake = false;
    expect([askedByBatch(), askedByBatch()]).toEqual([1, undefined]);
    // What counts is when the answer goes.
    replies.heardByBatch("a");
    vi.advanceTimersByTime(100);
    reply("a");
    expect([told(), askedByBatch()]).toEqual([1, undefined]);
    replies.heard("a");
    expect([askedByBatch(), askedByBatch()]).toEqual([1, undefined]);
  } finally {
    vi.useRealTimers();
  }
});

it("keeps a reply's own headers and status when it says so", () => {
  const { replies, posted } = gatherer();
  replies.heard("a");
  replies.reply("a", encodeReply("1", { status: 201, headers: { h: "v" }, body: { n: 1 } }));
  const [message] = posted.map((each) => each.message) as [Message];
  expect(message.properties).toEqual({
    contentType: "application/json",
    correlationId: "1",
    appId: "s",
    headers: { h: "v", [header.status]: "201", [header.gather]: "calls.batch=7" },
  });
  expect(Buffer.from(message.body).toString()).toBe('{"n":1}');
});

it("says it on a reply that cannot travel with others, too, and then no more", () => {
  const { replies, posted } = gatherer();
  replies.heard("a");
  const tooLarge = (): void => undefined;
  for (const id of ["1", "2"])
    replies.reply("a", encodeErrorReply(id, 500, { code: "C", message: "m" }), tooLarge);
  expect(posted.map(({ message }) => batchLimitOf(message))).toEqual([7, undefined]);
  expect(posted.map(({ message }) => message.properties.headers?.[header.error])).toEqual(["C", "C"]);
  expect(posted.map((each) => each.tooLarge)).toEqual([tooLarge, tooLarge]);
});

it("posts by itself what cannot travel with others", async () => {
  const { replies, reply, ids } = gatherer({ maxBytes: 1_024 });
  replies.heard("a");
  const first = reply("a");
  const [small, bytes, large] = [reply("a"), reply("a", new Uint8Array(1)), reply("a", "x".repeat(200))];
  replies.reply("a", encodeErrorReply("error", 500, { code: "C", message: "m" }));
  replies.reply("a", encodeReply(undefined, { status: 200, headers: {}, body: 1 }));
  expect(ids("a")).toEqual([[first], [bytes], [large], ["error"], [undefined]]);
  await turn();
  expect(ids("a").at(-1)).toEqual([small]);
});

it("puts at most 64 replies, and no more bytes than it is told, into a message", async () => {
  const { replies, reply, ids } = gatherer({ isEager: true, maxBytes: 1_024 });
  for (const to of ["many", "much"]) replies.heard(to);
  for (let n = 0; n < 130; n += 1) reply("many");
  for (let n = 0; n < 25; n += 1) reply("much", "x".repeat(98));
  await turn();
  expect(ids("many").map(({ length }) => length)).toEqual([64, 64, 2]);
  expect(ids("much").map(({ length }) => length)).toEqual([10, 10, 5]);
});

it("posts all that it has when the service leaves", () => {
  const { replies, reply, ids } = gatherer({ isEager: true });
  for (const to of ["a", "b"]) replies.heard(to);
  const [a, b] = [reply("a"), reply("b")];
  replies.close();
  expect([ids("a"), ids("b")]).toEqual([[[a]], [[b]]]);
});

it("says that calls are to come one by one while an instance of the service takes no batches", async () => {
  const census = { allTake: false };
  const { replies, reply, posted } = gatherer({}, census);
  replies.heard("a");
  reply("a");
  census.allTake = true;
  replies.heard("a");
  reply("a");
  await turn();
  expect(posted.map(({ message }) => batchLimitOf(message))).toEqual([1, 7]);
});

describe("an instance that leaves", () => {
  it("has left when no caller can believe any more that batches are welcome", async () => {
    vi.useFakeTimers({ now: 0 });
    try {
      const { replies, reply, posted } = gatherer();
      replies.heard("a");
      reply("a");
      await vi.advanceTimersByTimeAsync(300);
      let hasLeft = false;
      void replies.leave().then(() => {
        hasLeft = true;
      });
      replies.heard("a");
      reply("a");
      await vi.advanceTimersByTimeAsync(699);
      expect(hasLeft).toBe(false);
      expect(posted.map(({ message }) => batchLimitOf(message))).toEqual([7, 1]);
      await vi.advanceTimersByTimeAsync(1);
      expect(hasLeft).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  it("has left at once when it has not said so recently, or when it is closed", async () => {
    const { replies, reply } = gatherer();
    replies.heard("a");
    reply("a");
    const leaving = replies.leave();
    replies.close();
    await leaving;
    await gatherer().replies.leave();
  });
});

it("hears nobody if it is to post one by one", async () => {
  const { replies, reply, posted } = gatherer({ maxCalls: 1, isEager: true });
  replies.heard("a");
  reply("a");
  reply("a");
  expect(posted.map(({ message }) => message.properties.headers)).toEqual([undefined, undefined]);
});

it("counts every answer, however it travels", () => {
  const { replies, reply, limit } = gatherer();
  replies.heard("a");
  for (const to of ["a", "a", "b"]) reply(to);
  reply("a", new Uint8Array(1));
  expect(limit.answered).toBe(4);
});

it("forgets the one that asked first when too many have, and keeps none of its replies", async () => {
  const { replies, reply, ids } = gatherer({ isEager: true });
  for (let n = 0; n < 4_096; n += 1) replies.heard(`q${n}`);
  const [first, second] = [reply("q0"), reply("q1")];
  replies.heard("one more");
  expect(ids("q0")).toEqual([[first]]);
  const plain = reply("q0");
  expect(ids("q0")).toEqual([[first], [plain]]);
  expect(ids("q1")).toEqual([]);
  await turn();
  expect(ids("q1")).toEqual([[second]]);
});

it("posts one by one what was too large for the broker together", () => {
  const { replies, posted } = gatherer({ isEager: true });
  replies.heard("a");
  const tooLarge = [vi.fn(), vi.fn()];
  for (const [n, each] of tooLarge.entries())
    replies.reply("a", encodeReply(`${n}`, { status: 200, headers: {}, body: n }), each);
  replies.close();
  expect(posted.map(({ message }) => idsIn(message))).toEqual([["0", "1"]]);
  const [together] = posted as unknown as readonly [{ tooLarge(): void }];
  together.tooLarge();
  expect(posted.slice(1).map(({ message }) => idsIn(message))).toEqual([["0"], ["1"]]);
  expect(posted.slice(1).map((each) => each.tooLarge)).toEqual(tooLarge);
  for (const each of tooLarge) expect(each).not.toHaveBeenCalled();
});

const FORGED = "amq.rabbitmq.reply-to.AAAA.x";
const OTHER = "amq.rabbitmq.reply-to.BBBB.y";

describe("an address of direct reply-to", () => {
  it("is not answered any more when two connections in a row were lost right after an answer to it", () => {
    const returns = new DirectReturns();
    const may: boolean[] = [];
    for (let at = 0; at < 40; at += 10) {
      returns.began(at);
      may.push(returns.mayAnswer(FORGED, at + 1));
      returns.lost(at + 2);
    }
    expect(may).toEqual([true, true, false, false]);
    expect(returns.mayAnswer(OTHER, 50)).toBe(true);
  });

  it("is answered again once a connection has stood", () => {
    const returns = new DirectReturns();
    for (const at of [0, 10]) {
      returns.began(at);
      returns.mayAnswer(FORGED, at + 1);
      returns.lost(at + 2);
    }
    returns.began(20);
    expect(returns.mayAnswer(FORGED, 30)).toBe(false);
    returns.lost(6_000);
    expect(returns.mayAnswer(FORGED, 6_010)).toBe(true);
  });

  it("is not suspected for a loss that came long after an answer, or for one between two others", () => {
    const returns = new DirectReturns();
    for (const [at, isWritten, gone] of [
      [0, true, 1_500],
      [2_000, true, 2_010],
      [2_100, false, 2_200],
      [2_300, true, 2_310],
    ] as const) {
      returns.began(at);
      if (isWritten) expect(returns.mayAnswer(FORGED, at + 1)).toBe(true);
      returns.lost(gone);
    }
    expect(returns.mayAnswer(FORGED, 2_400)).toBe(true);
  });

  it("is no queue: those are always answered", () => {
    const returns = new DirectReturns();
    for (const at of [0, 10, 20]) {
      returns.began(at);
      expect(returns.mayAnswer("amq.gen-x", at)).toBe(true);
      returns.lost(at + 1);
    }
  });
});
