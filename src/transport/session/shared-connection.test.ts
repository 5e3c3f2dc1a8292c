import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, it, vi } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { Namespace } from "../../protocol/topology.ts";
import type { AmqpClient } from "../amqp-client.ts";
import { breakableClient, fakeClient, fakeMember } from "./fake-client.test-support.ts";
import { SharedConnection } from "./shared-connection.ts";

const lost = (): ConfluoError => new ConfluoError("CONNECTION_LOST", "cut");
const never = new AbortController().signal;

function hubOver(open: () => Promise<AmqpClient>): SharedConnection {
  return new SharedConnection({
    address: "fake",
    description: "fake:",
    namespace: new Namespace("confluo"),
    open,
    newId: () => "id",
    warn: () => undefined,
    info: () => undefined,
  });
}

describe("a hub", () => {
  it("gives a link on the next wire when one is lost in the turn it was opened in", async () => {
    const next = fakeClient();
    const clients = [fakeClient({ lost: Promise.resolve(lost()) }), next];
    const session = await hubOver(async () => clients.shift() ?? next).openSession(fakeMember(), never);
    expect(session.connected).toBe(true);
  });

  it("leaves no wire open for one who gave up while the last wire was closed", async () => {
    let closed: () => void = () => undefined;
    const closing = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const close = vi.fn(() => closing);
    const open = vi.fn(async () => fakeClient({ close }));
    const hub = hubOver(open);
    const session = await hub.openSession(fakeMember(), never);
    const leaving = session.close();
    await vi.waitFor(() => expect(close).toHaveBeenCalled());
    const stop = new AbortController();
    const joining = hub.openSession(fakeMember(), stop.signal).catch((error: unknown) => error);
    await new Promise(setImmediate);
    stop.abort(lost());
    closed();
    await leaving;
    expect(await joining).toMatchObject({ code: "CONNECTION_LOST" });
    await new Promise(setImmediate);
    expect(close).toHaveBeenCalledTimes(open.mock.calls.length);
  });

  it("restores the others though one cannot be restored", async () => {
    const refuseBroken = async ({ name }: { readonly name: string }): Promise<string> => {
      if (name.includes(".broken.")) throw new ConfluoError("TOPOLOGY_CONFLICT", "refused");
      return name || "amq.gen-1";
    };
    const { client, lose } = breakableClient();
    const clients = [client, fakeClient({ declareQueue: refuseBroken })];
    const hub = hubOver(async () => clients.shift() ?? fakeClient({ declareQueue: refuseBroken }));
    const [good, broken] = [vi.fn(), vi.fn()];
    const first = await hub.openSession(fakeMember({ service: "broken", onRestored: broken }), never);
    const second = await hub.openSession(fakeMember({ service: "good", onRestored: good }), never);
    await Promise.all([first.serve(), second.serve()]);
    lose(lost());
    await vi.waitFor(() => expect(good).toHaveBeenCalled());
    expect(broken).not.toHaveBeenCalled();
    await Promise.all([first.close(), second.close()]);
  });

  it("tells its members outside of the context of whoever joined, on its first wire and on the next", async () => {
    const tenants = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const note =
      (what: string): (() => void) =>
      () =>
        void seen.push([what, tenants.getStore()]);
    const { client, lose } = breakableClient();
    const clients = [client];
    const hub = hubOver(async () => {
      note("open")();
      return clients.shift() ?? fakeClient();
    });
    const onRestored = vi.fn(note("restored"));
    const member = fakeMember({ onLost: note("lost"), onRestored });
    const session = await tenants.run("connector", () => hub.openSession(member, never));
    tenants.run("breaker", () => lose(lost()));
    await vi.waitFor(() => expect(onRestored).toHaveBeenCalled());
    expect(seen).toEqual(["open", "lost", "open", "restored"].map((what) => [what, undefined]));
    await session.close();
  });

  it("makes ever longer pauses while connections break soon after they were made", async () => {
    vi.useFakeTimers();
    try {
      const losing: (() => void)[] = [];
      const open = vi.fn(async () => {
        const { client, lose } = breakableClient();
        losing.push(() => lose(lost()));
        return client;
      });
      const hub = hubOver(open);
      const session = await hub.openSession(fakeMember(), never);
      const loseNext = async (afterMs: number): Promise<void> => {
        await vi.advanceTimersByTimeAsync(afterMs);
        losing.splice(0).at(-1)?.();
        await vi.advanceTimersByTimeAsync(0);
      };
      let sinceMs = 0;
      for (; sinceMs < 60_000; sinceMs += 150) await loseNext(150);
      // A tenth of a second at first, and no less than half of 5 s in the end.
      expect(open.mock.calls.length).toBeLessThan(35);
      await vi.advanceTimersByTimeAsync(10_000);
      const made = open.mock.calls.length;
      await loseNext(10_000);
      await vi.advanceTimersByTimeAsync(0);
      expect(open.mock.calls.length).toBe(made + 1);
      await session.close();
    } finally {
      vi.useRealTimers();
    }
  });

  it("makes no more connections than one after another where each breaks while a service is restored on it", async () => {
    vi.useFakeTimers();
    try {
      const limit = new ConfluoError("CONNECTION_LOST", "for a limit on channels", {
        data: { limit: "channels" },
      });
      const open = vi.fn(async () => {
        const { client, lose } = breakableClient({
          declareQueue: async ({ name }) => {
            if (!name.includes(".s.")) return name;
            setTimeout(() => lose(limit), 1);
            throw limit;
          },
        });
        return client;
      });
      const session = await hubOver(open).openSession(fakeMember(), never);
      session.serve().catch(() => undefined);
      await vi.advanceTimersByTimeAsync(20_000);
      // 1, 2 and 4 s, then 5 s, or half of each.
      expect(open.mock.calls.length).toBeLessThanOrEqual(8);
      await session.close();
    } finally {
      vi.useRealTimers();
    }
  });

  it("says what the broker said last for as long as it is not connected again", async () => {
    const { client, lose } = breakableClient();
    const refused = new ConfluoError("ACCESS_REFUSED", "the token has expired");
    const next: (AmqpClient | ConfluoError)[] = [client, refused, refused, fakeClient()];
    const hub = hubOver(async () => {
      const one = next.shift() ?? fakeClient();
      if (one instanceof Error) throw one;
      return one;
    });
    const restored = vi.fn();
    const session = await hub.openSession(fakeMember({ onRestored: restored }), never);
    expect(hub.lastFailure).toBeUndefined();
    lose(lost());
    await vi.waitFor(() => expect(hub.lastFailure).toBe(refused));
    await vi.waitFor(() => expect(restored).toHaveBeenCalled());
    await vi.waitFor(() => expect(hub.lastFailure).toBeUndefined());
    await session.close();
  });

  it("waits where the broker does not answer a declaration in time", async () => {
    const silent = fakeClient({
      declareQueue: () => Promise.reject(new ConfluoError("UNAVAILABLE", "no answer within 5000 ms")),
    });
    const clients = [silent, fakeClient()];
    const open = vi.fn(async () => clients.shift() ?? fakeClient());
    const hub = hubOver(open);
    const session = await hub.openSession(fakeMember(), never);
    expect(open).toHaveBeenCalledTimes(2);
    expect(hub.lastFailure).toBeUndefined();
    await session.close();
  });

  it("waits where the broker names a limit that others may leave", async () => {
    const limit = new ConfluoError("UNAVAILABLE", "for a limit on connections", {
      data: { limit: "connections" },
    });
    const next: (AmqpClient | ConfluoError)[] = [limit, fakeClient()];
    const open = vi.fn(async () => {
      const one = next.shift() ?? fakeClient();
      if (one instanceof Error) throw one;
      return one;
    });
    const session = await hubOver(open).openSession(fakeMember(), never);
    expect(open).toHaveBeenCalledTimes(2);
    await session.close();
  });
});
