import { afterEach, describe, expect, it } from "vitest";
import { Broker, type Logger, Service } from "../index.ts";
import { readEnvelope } from "../protocol/envelope.ts";
import { eventually } from "../testing/index.ts";
import { messageFields } from "./message-fields.ts";

const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
const span = "00f067aa0ba902b7";
const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

/** What two services log, one of which fails at whatever it handles. */
async function failing() {
  const lines: object[] = [];
  const keep = (details: object): void => void lines.push(details);
  const logger: Logger = { debug() {}, info() {}, warn: keep, error: keep };
  const [worker, client] = [new Service("worker", { logger }), new Service("client", { logger })];
  const fail = (): never => {
    throw new Error("no");
  };
  worker.route("/fails", fail, { retry: { attempts: 1 } });
  worker.subscribe("/own", fail, { per: "instance" });
  worker.route("/slow", () => new Promise(() => undefined));
  const broker = new Broker("memory:");
  cleanUp.push(() => Promise.all([client.shutdown(), worker.shutdown({ timeoutMs: 1 })]));
  await Promise.all([worker.connect(broker), client.connect(broker)]);
  return { worker, client, lines };
}

describe("each line about a message", () => {
  const headers = { traceparent: `00-${trace}-${span}-01` };

  it("says which service, instance and message, and the trace that it was sent in", async () => {
    const { worker, client, lines } = await failing();
    const whole = {
      service: "worker",
      instance: worker.instance,
      from: "client",
      traceId: trace,
      spanId: span,
    };
    await client.call("worker", "/fails", undefined, { headers }).catch(() => undefined);
    expect(lines.splice(0)).toEqual([
      expect.objectContaining({ ...whole, path: "/fails", messageId: expect.stringMatching(/./) }),
    ]);
    await client.send("worker", "/fails", undefined, { headers, messageId: "m-1" });
    await client.publish("/own", undefined, { headers, messageId: "m-2" });
    await client.call("worker", "/slow", undefined, { headers, timeoutMs: 20 }).catch(() => undefined);
    await eventually(() => lines.length === 3, "three lines");
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ ...whole, path: "/fails", messageId: "m-1" }),
        expect.objectContaining({ ...whole, path: "/own", messageId: "m-2" }),
        expect.objectContaining({ ...whole, path: "/slow", messageId: expect.stringMatching(/./) }),
      ]),
    );
  });

  it.each([
    undefined,
    "",
    "nonsense",
    7,
    ["a"],
    `00-${trace}-${span}`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${"0".repeat(32)}-${span}-01`,
    `00-${trace}-${"0".repeat(16)}-01`,
    `00-${trace}-${span}-01x`,
    "0".repeat(100_000),
  ])("names no trace that is none (%#)", (traceparent) => {
    const message = { body: new Uint8Array(), properties: { headers: { traceparent }, messageId: "m" } };
    const envelope = readEnvelope(message, { lane: "inbox", eventKey: undefined, newId: () => "" });
    expect(messageFields({ message, envelope })).toEqual({ path: "", messageId: "m", from: "" });
  });
});
