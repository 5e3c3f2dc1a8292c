/** How long a message may live, when instances come and go: what is left of it travels with every copy. */

import assert from "node:assert/strict";
import { type Message, type Service, ServiceError } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { absent } from "./mailbox.ts";
import { type Bench, type Define, oneByOne, signalled } from "./suite.ts";

const never = (): Promise<never> => new Promise(() => undefined);

export const expiry: Define = (it) => {
  for (const what of ["a command", "an event"] as const) {
    it(`expires ${what} that a shutdown gave back`, async (bench) => {
      await holding(bench, { what, expiresMs: 1_500 });
      await expired(bench, what);
    });

    it(`expires ${what} that waits to be tried again alone`, async (bench) => {
      await absent(bench, "worker");
      await (await bench.start("worker", subscribed)).shutdown();
      const client = await bench.start("client");
      // The first takes the one place for what is tried alone, the second waits behind it.
      await client.send("worker", "/hold", 0);
      await dispatched(client, what, 2_500);
      await bench.dieWith("worker", "inbox", 2);
      await bench.start("worker", (service) => {
        service.route("/hold", never);
        service.route("/task", () => assert.fail("it had expired"));
        service.subscribe("/e/:id", () => assert.fail("it had expired"));
      });
      await expired(bench, what);
    });
  }

  it("gives a message back with what is left of its time", async (bench) => {
    await holding(bench, { what: "a command", expiresMs: 60_000, heldMs: 300 });
    const [copy] = await bench.dieWith("worker", "inbox", 1);
    assert.ok(leftOf(copy) <= 59_700 && leftOf(copy) > 30_000, `${leftOf(copy)}`);
    assert.equal(copy?.properties.headers?.["confluo-given-back"], "1");
  });

  it("gives a call back with what is left of its caller's patience", async (bench) => {
    const begun = signalled();
    const worker = await bench.start("worker", (service) =>
      service.route("/task", () => {
        begun.resolve();
        return never();
      }),
    );
    const caller = await bench.start("caller", undefined, oneByOne);
    caller.call("worker", "/task", 1, { timeoutMs: 60_000 }).catch(() => undefined);
    await begun.promise;
    await pause(300);
    await worker.shutdown({ timeoutMs: 1 });
    const [copy] = await bench.dieWith("worker", "calls", 1);
    assert.ok(leftOf(copy) <= 59_700 && leftOf(copy) > 30_000, `${leftOf(copy)}`);
  });

  it("keeps what is left of its time when it is given back after a retry", async (bench) => {
    const tried = signalled();
    const worker = await bench.start(
      "worker",
      (service) =>
        service.route("/task", ({ attempt }) => {
          if (attempt === 1) throw new ServiceError("busy", { retry: { afterMs: 250 } });
          tried.resolve();
          return never();
        }),
      { retry: { attempts: 2 } },
    );
    await (await bench.start("client")).send("worker", "/task", 1, { expiresMs: 60_000 });
    await tried.promise;
    await worker.shutdown({ timeoutMs: 1 });
    const [copy] = await bench.dieWith("worker", "inbox", 1);
    assert.ok(leftOf(copy) <= 59_750 && leftOf(copy) > 30_000, `${leftOf(copy)}`);
    assert.equal(copy?.properties.headers?.["confluo-attempt"], "2");
  });

  it("makes a letter of what came back from a wait and then lay there for longer than it may", async (bench) => {
    const tried = signalled();
    const failing = (service: Service): Service =>
      service.route("/task", ({ attempt }) => {
        if (attempt > 1) assert.fail("it had expired");
        tried.resolve();
        throw new ServiceError("busy", { retry: { afterMs: 250 } });
      });
    const worker = await bench.start("worker", failing, { retry: { attempts: 2 } });
    await (await bench.start("client")).send("worker", "/task", 1, { expiresMs: 1_000 });
    await tried.promise;
    await worker.shutdown();
    await eventually(async () => (await bench.depth("worker", "inbox")) === 1, "it to come back");
    // The broker's clock is read in whole seconds.
    await pause(3_500);
    const later = await bench.start("worker", failing);
    const box = bench.broker.deadLetters("worker");
    await eventually(async () => (await box.count()) === 1, "the letter");
    const [letter] = await box.list();
    assert.deepEqual([letter?.error?.code, letter?.path, letter?.attempts], ["TIMEOUT", "/task", 2]);
    assert.equal(later.stats().routes[0]?.deadLettered, 1);
  });

  for (const what of ["a command", "an event"] as const) {
    it(`makes a letter of ${what} whose time is over when a shutdown would give it back`, async (bench) => {
      const worker = await holding(bench, { what, expiresMs: 1_000, heldMs: 1_050 });
      const box = bench.broker.deadLetters("worker");
      await eventually(async () => (await box.count()) === 1, "the letter");
      const [letter] = await box.list();
      assert.deepEqual(
        [letter?.error?.code, letter?.path],
        ["TIMEOUT", what === "an event" ? "/e/7" : "/task"],
      );
      assert.equal(await bench.depth("worker", "inbox"), 0);
      const { routes, subscriptions } = worker.stats();
      const counted = [...routes, ...subscriptions].map(({ deadLettered }) => deadLettered);
      assert.equal(
        counted.reduce((all, each) => all + each),
        1,
      );
    });
  }
};

/** A worker that is shut down while it has a message, which it then gives back. */
async function holding(
  bench: Bench,
  {
    what,
    expiresMs,
    heldMs = 0,
  }: { readonly what: string; readonly expiresMs: number; readonly heldMs?: number },
): Promise<Service> {
  const begun = signalled();
  const hold = (): Promise<never> => {
    begun.resolve();
    return never();
  };
  const worker = await bench.start("worker", (service) =>
    service.route("/task", hold).subscribe("/e/:id", hold),
  );
  await dispatched(await bench.start("client"), what, expiresMs);
  await begun.promise;
  await pause(heldMs);
  await worker.shutdown({ timeoutMs: 1 });
  return worker;
}

function subscribed(service: Service): Service {
  return service.subscribe("/e/:id", () => undefined);
}

function dispatched(client: Service, what: string, expiresMs: number): Promise<void> {
  return what === "an event"
    ? client.publish("/e/7", 1, { expiresMs })
    : client.send("worker", "/task", 1, { expiresMs });
}

/** It is dead by the broker's word, and can still be sent back. */
async function expired(bench: Bench, what: string): Promise<void> {
  const box = bench.broker.deadLetters("worker");
  await eventually(async () => (await box.count()) === 1, "the letter");
  const [letter] = await box.list();
  assert.deepEqual(
    [letter?.reason, letter?.kind, letter?.path],
    ["expired", ...(what === "an event" ? ["event", "/e/7"] : ["send", "/task"])],
  );
  assert.equal(await box.replay("all"), 1);
}

function leftOf(message: Message | undefined): number {
  return Number(message?.properties.expiration);
}

// Time has to pass here: it is what is measured.
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
