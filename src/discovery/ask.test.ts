import { describe, expect, it, vi } from "vitest";
import { ConfluoError } from "../errors.ts";
import { encodeAnswer } from "../protocol/discovery/instance-answer.ts";
import { Namespace } from "../protocol/topology.ts";
import type { AmqpClient, ConsumeOptions } from "../transport/amqp-client.ts";
import { breakableClient, fakeClient } from "../transport/session/fake-client.test-support.ts";
import { ask } from "./ask.ts";

function asking(wire: AmqpClient) {
  const parts = { namespace: new Namespace("n"), open: async () => wire, newId: () => "1" };
  return ask(parts, "ping", undefined, async (_, heard) => heard.map(({ answer }) => answer));
}

describe("asking who is there", () => {
  it("finds nobody where the question comes back", async () => {
    const wire = fakeClient({
      publish: (_route, _message, settled) => void setImmediate(settled, "returned"),
    });
    expect(await asking(wire)).toEqual([]);
  });

  it("finds nobody in a namespace that nobody uses, and leaves nothing there", async () => {
    const touched = (): never => {
      throw new Error("something was declared");
    };
    const wire = fakeClient({
      hasExchange: async () => false,
      declareExchange: touched,
      declareQueue: touched,
    });
    expect(await asking(wire)).toEqual([]);
  });

  it("says so where the broker does not take the question", async () => {
    const refusing = fakeClient({
      publish: (_route, _message, settled) => void setImmediate(settled, "refused"),
    });
    await expect(asking(refusing)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const blocked = fakeClient({ publish: () => undefined, blocked: "low on memory" });
    await expect(asking(blocked)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("low on memory"),
    });
  });

  it("waits where the broker takes long to take the question, as one with thousands of instances does", async () => {
    vi.useFakeTimers();
    try {
      let consumed: ConsumeOptions | undefined;
      const wire = fakeClient({
        consume: async (options) => {
          consumed = options;
          return { cancel: async () => undefined, close: async () => undefined };
        },
        publish: (_route, _message, settled) => {
          setTimeout(settled, 2_000);
          const message = encodeAnswer("1", { service: "s", instance: "i" });
          const arrival = { message, exchange: "", key: "", redelivered: false, hold: "released" } as const;
          const settling = { queue: "", ack: () => undefined, requeue: () => undefined };
          setTimeout(() => consumed?.onDelivery({ ...arrival, ...settling }), 2_900);
        },
      });
      const answers = asking(wire);
      await vi.advanceTimersByTimeAsync(3_500);
      expect(await answers).toMatchObject([{ service: "s", instance: "i" }]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("says so where the connection is lost meanwhile, whoever has answered before", async () => {
    let consumed: ConsumeOptions | undefined;
    const { client: wire, lose } = breakableClient({
      consume: async (options) => {
        consumed = options;
        return { cancel: async () => undefined, close: async () => undefined };
      },
      publish: (_route, _message, settled) => {
        settled();
        const message = encodeAnswer("1", { service: "s", instance: "i" });
        const delivery = { message, exchange: "", key: "", redelivered: false, hold: "released" } as const;
        consumed?.onDelivery({
          ...delivery,
          queue: consumed.queue,
          ack: () => undefined,
          requeue: () => undefined,
        });
        lose(new ConfluoError("CONNECTION_LOST", "It is gone."));
      },
    });
    await expect(asking(wire)).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  });
});
