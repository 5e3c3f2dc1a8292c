import { crc32 } from "node:zlib";
import { describe, expect, it, vi } from "vitest";
import { originOf } from "../protocol/origin.ts";
import type { Outcome } from "../retry/outcome.ts";
import { defaultRetry } from "../retry/policy.ts";
import type { Delivery, DeliveryRecord } from "../transport/transport.ts";
import { Dispatch } from "./dispatch.ts";
import { silentLogger } from "./logger.ts";
import { Registry } from "./registry.ts";
import { Tally } from "./tally.ts";

/** A service with one route, and deliveries that say whether their connection still stands. */
function serviceWith(handler: () => unknown) {
  const registry = new Registry();
  registry.routes.add("/", {
    pattern: "/",
    handler,
    contract: undefined,
    tally: new Tally(),
    timeoutMs: 1_000,
    retry: defaultRetry,
  });
  const replies: string[] = [];
  const dispatch = new Dispatch({
    service: "s",
    instance: "i",
    registry,
    logger: silentLogger,
    maxBodyBytes: () => 1_000,
    callTimeoutMs: 1_000,
    graceMs: 600_000,
    mostCalls: 128,
    reply: (to) => {
      replies.push(to);
      return undefined;
    },
  });
  const deliver = async (
    record: DeliveryRecord,
    { lane = "inbox", messageId = "m", stands = true, body = "1", headers, type = "/" }: Partial<Past> = {},
  ): Promise<Outcome | undefined> => {
    const settle = vi.fn(async (_outcome: Outcome) => stands);
    const properties = {
      type,
      messageId,
      ...(headers === undefined ? {} : { headers }),
      ...(lane === "calls" ? { replyTo: "q", correlationId: "c" } : {}),
    };
    const message = { body: typeof body === "string" ? new TextEncoder().encode(body) : body, properties };
    const origin = originOf(message, { lane, eventKey: undefined, newId: () => "new" });
    const redelivered = record !== "fresh";
    const delivery: Delivery = { lane, message, origin, record, redelivered, settle };
    dispatch.handle(delivery);
    await dispatch.idle();
    return settle.mock.calls[0]?.[0];
  };
  return { deliver, dispatch, replies };
}

/** A handler that runs until the test lets it end. */
function heldHandler() {
  let finish: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    finish = resolve;
  });
  return { handler: vi.fn(() => held), finish };
}

interface Past {
  readonly lane: "calls" | "inbox";
  readonly messageId: string;
  /** Whether the outcome stood, as far as this instance knows. */
  readonly stands: boolean;
  readonly body: string | Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly type: string;
}

describe("what the broker delivers again", () => {
  it("is acknowledged and not run again if it was handled here and the acknowledgement was lost", async () => {
    const handler = vi.fn();
    const { deliver } = serviceWith(handler);
    await deliver("fresh");
    for (const record of ["suspect", "fatal"] as const)
      expect(await deliver(record)).toEqual({ kind: "done" });
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("is put aside to run alone if it was not begun here, or is another message", async () => {
    const handler = vi.fn();
    const { deliver } = serviceWith(handler);
    expect(await deliver("suspect")).toMatchObject({ kind: "isolate", deaths: 0 });
    await deliver("fresh");
    expect(await deliver("suspect", { messageId: "other" })).toMatchObject({ kind: "isolate" });
    expect(await deliver("suspect", { body: "2" })).toMatchObject({ kind: "isolate" });
    expect(await deliver("suspect", { headers: { "confluo-replay": "r-1" } })).toMatchObject({
      kind: "isolate",
    });
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("is put aside if it only went round here before: another instance may have begun it since", async () => {
    const { deliver } = serviceWith(() => undefined);
    const round = { kind: "move", moves: [{ kind: "go-round" }] };
    expect(await deliver("fresh", { type: "/new" })).toMatchObject(round);
    expect(await deliver("suspect", { type: "/new" })).toEqual({ kind: "done" }); // its copy goes round already
    const headers = { "confluo-unclaimed": "250" };
    expect(await deliver("suspect", { type: "/new", headers })).toMatchObject({ kind: "isolate" });
  });

  it("waits for the run that goes on here, and ends as that ends", async () => {
    const { handler, finish } = heldHandler();
    const { deliver } = serviceWith(handler);
    const first = deliver("fresh");
    const again = deliver("suspect");
    await new Promise(setImmediate);
    finish();
    expect(await first).toEqual({ kind: "done" });
    expect(await again).toEqual({ kind: "done" });
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("gets the outcome that the broken connection did not let through", async () => {
    const handler = vi.fn(async () => {
      await new Promise(setImmediate);
      throw new Error("no");
    });
    const { deliver } = serviceWith(handler);
    const first = deliver("fresh", { stands: false });
    const again = await deliver("suspect");
    expect(again).toMatchObject({ kind: "move", moves: [{ kind: "retry" }] });
    expect(again).toBe(await first);
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("is run alone, if it is a call that was answered: the answer may be lost, too", async () => {
    const handler = vi.fn(() => 1);
    const { deliver, replies } = serviceWith(handler);
    await deliver("fresh", { lane: "calls" });
    expect(replies).toEqual(["q"]);
    expect(await deliver("suspect", { lane: "calls" })).toMatchObject({ kind: "isolate" });
    expect(await deliver("alone", { lane: "calls" })).toEqual({ kind: "done" });
    expect(replies).toEqual(["q", "q"]);
  });

  it("is not taken for another message of the same id, length and checksum", async () => {
    const handler = vi.fn();
    const { deliver } = serviceWith(handler);
    // As many devices frame what they say: whatever it is, the whole has one CRC-32.
    const framed = (text: string): Uint8Array => {
      const frame = Buffer.from(`${text}....`);
      frame.writeUInt32LE(crc32(text), text.length);
      return frame;
    };
    const [first, second] = [framed("20.5"), framed("21.0")];
    expect(crc32(first)).toBe(crc32(second));
    await deliver("fresh", { body: first });
    expect(await deliver("suspect", { body: second })).toMatchObject({ kind: "isolate" });
    expect(await deliver("suspect", { body: first })).toEqual({ kind: "done" });
  });

  it("is the same call whatever its body looks like: one of several that came together is written anew", async () => {
    const { handler, finish } = heldHandler();
    const { deliver, replies } = serviceWith(handler);
    const first = deliver("fresh", { lane: "calls", body: '{"a":1}' });
    const again = deliver("fatal", { lane: "calls", body: '{"a": 1}' });
    await new Promise(setImmediate);
    finish();
    expect(await first).toEqual({ kind: "done" });
    expect(await again).toEqual({ kind: "done" });
    expect([handler.mock.calls.length, replies]).toEqual([1, ["q"]]);
  });

  it("is remembered while the broker delivers again, too, and as long", async () => {
    const { deliver } = serviceWith(() => undefined);
    const isKnown = async (n: number): Promise<boolean> =>
      (await deliver("suspect", { messageId: `m-${n}` }))?.kind === "done";
    for (let n = 0; n < 34_000; n += 1) {
      await deliver("fresh", { messageId: `m-${n}` });
      if (n % 1_000 !== 0) continue;
      expect(await isKnown(n)).toBe(true);
      expect(await isKnown(Math.max(0, n - 16_000))).toBe(true);
      expect(await isKnown(n + 1)).toBe(false);
    }
    expect(await isKnown(0)).toBe(false);
  });

  it("is forgotten after a while, so that memory stays bounded", async () => {
    const { deliver } = serviceWith(() => undefined);
    await deliver("fresh");
    for (let n = 0; n < 2 * 8_192 + 1; n += 1) await deliver("fresh", { messageId: `m-${n}` });
    expect(await deliver("suspect")).toMatchObject({ kind: "isolate" });
    expect(await deliver("suspect", { messageId: `m-${2 * 8_192}` })).toEqual({ kind: "done" });
  });
});
