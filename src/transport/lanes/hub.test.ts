import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, it, vi } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { Namespace } from "../../protocol/topology.ts";
import type { Wire } from "../wire.ts";
import { breakableWire, fakeMember, fakeWire } from "./fake-wire.test-support.ts";
import { Hub } from "./hub.ts";

const lost = (): ConfluoError => new ConfluoError("CONNECTION_LOST", "cut");
const never = new AbortController().signal;

function hubOver(open: () => Promise<Wire>): Hub {
  return new Hub({
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
    const next = fakeWire();
    const wires = [fakeWire({ lost: Promise.resolve(lost()) }), next];
    const link = await hubOver(async () => wires.shift() ?? next).join(fakeMember(), never);
    expect(link.connected).toBe(true);
  });

  it("leaves no wire open for one who gave up while the last wire was closed", async () => {
    let closed: () => void = () => undefined;
    const closing = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const close = vi.fn(() => closing);
    const open = vi.fn(async () => fakeWire({ close }));
    const hub = hubOver(open);
    const link = await hub.join(fakeMember(), never);
    const leaving = link.close();
    await vi.waitFor(() => expect(close).toHaveBeenCalled());
    const stop = new AbortController();
    const joining = hub.join(fakeMember(), stop.signal).catch((error: unknown) => error);
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
    const { wire, lose } = breakableWire();
    const wires = [wire, fakeWire({ declareQueue: refuseBroken })];
    const hub = hubOver(async () => wires.shift() ?? fakeWire({ declareQueue: refuseBroken }));
    const [good, broken] = [vi.fn(), vi.fn()];
    const first = await hub.join(fakeMember({ service: "broken", onRestored: broken }), never);
    const second = await hub.join(fakeMember({ service: "good", onRestored: good }), never);
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
    const { wire, lose } = breakableWire();
    const wires = [wire];
    const hub = hubOver(async () => {
      note("open")();
      return wires.shift() ?? fakeWire();
    });
    const onRestored = vi.fn(note("restored"));
    const member = fakeMember({ onLost: note("lost"), onRestored });
    const link = await tenants.run("connector", () => hub.join(member, never));
    tenants.run("breaker", () => lose(lost()));
    await vi.waitFor(() => expect(onRestored).toHaveBeenCalled());
    expect(seen).toEqual(["open", "lost", "open", "restored"].map((what) => [what, undefined]));
    await link.close();
  });
});
