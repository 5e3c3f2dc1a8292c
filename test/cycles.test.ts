/** Services in processes of their own that call each other in a circle: a thousand at once, and others beside them. */

import { afterEach, expect, it } from "vitest";
import { isConfluoError, Service, silentLogger } from "../src/index.ts";
import { startProcess, terminate } from "./support/forked.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

async function circle(names: readonly string[], concurrency: object = {}) {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, [...names, "client"]));
  const children = await Promise.all(
    names.map(async (name, n) => {
      const next = names[(n + 1) % names.length] as string;
      const args = [testBrokerUrl(), broker.namespace, name, next, JSON.stringify(concurrency)];
      const child = await startProcess("passing-service.ts", args);
      cleanUp.push(() => child.kill("SIGKILL"));
      return child;
    }),
  );
  const client = await new Service("client", { broker, logger: silentLogger }).connect();
  cleanUp.push(() => client.shutdown());
  return { client, children };
}

/** Calls one after the other until it is told to stop. */
function flatLoad(client: Service, service: string) {
  let stopped = false;
  const load = (async () => {
    let answered = 0;
    for (; !stopped; answered += 1) {
      expect((await client.call(service, "/flat", answered)).body).toBe(answered);
    }
    return answered;
  })();
  load.catch(() => undefined);
  return () => {
    stopped = true;
    return load;
  };
}

for (const names of [
  ["left", "right"],
  ["first", "second", "third"],
]) {
  it(`a thousand calls at once go round ${names.length} services and are answered, as is what is called beside them`, async () => {
    const { client, children } = await circle(names);
    const [name = ""] = names;
    const loads = Array.from({ length: 8 }, (_, n) => flatLoad(client, names[n % names.length] as string));
    const path = `/pass/${names.length}`; // back to where it began
    const answers = await Promise.all(Array.from({ length: 1_000 }, (_, n) => client.call(name, path, n)));
    expect(answers.map(({ body }) => body)).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
    for (const stop of loads) expect(await stop()).toBeGreaterThan(0);
    expect(await Promise.all(children.map(terminate))).toEqual(children.map(() => 0));
  }, 60_000);
}

it("more than may wait are answered OVERLOADED, or that a handler met it: none waits until its deadline", async () => {
  const { client } = await circle(["left", "right"], { calls: 16, waiting: 64 });
  const began = performance.now();
  // Some fifteen times as many handlers would wait in each of the two as may.
  const ends = await Promise.all(
    Array.from({ length: 1_000 }, (_, n) =>
      client.call("left", "/pass/3", n).then(
        ({ body }) => (body === n ? "answered" : "wrong"),
        (error: unknown) => {
          if (isConfluoError(error, "OVERLOADED")) return "overloaded";
          return isConfluoError(error, "HANDLER_FAILED") && /concurrency\.waiting/.test(error.message)
            ? "overloaded further down"
            : String(error);
        },
      ),
    ),
  );
  const kinds = new Set(ends);
  for (const kind of ["answered", "overloaded", "overloaded further down"]) kinds.delete(kind);
  expect([...kinds]).toEqual([]);
  expect(ends.some((end) => end !== "answered")).toBe(true);
  expect(performance.now() - began).toBeLessThan(20_000);
  expect((await client.call("left", "/flat", 1)).body).toBe(1);
}, 60_000);
