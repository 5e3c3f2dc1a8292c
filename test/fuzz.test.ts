/** Generated messages, at a service that runs: each is settled, and the service goes on. A failure prints its seed. */

import fc from "fast-check";
import { expect, it } from "vitest";
import { Broker, type Properties } from "../src/index.ts";
import { header } from "../src/protocol/codec.ts";
import { FuzzTarget, type Generated } from "./support/fuzz-target.ts";
import { deleteNamespace, freshBroker } from "./support/rabbitmq.ts";

const text = fc.string({ unit: "binary", maxLength: 40 });
const number = fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }));
const junk = fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true });

/** Mostly what an honest sender writes, so that messages come far; at times anything. */
function mostly<T>(usual: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 5, arbitrary: usual }, { weight: 1, arbitrary: junk as fc.Arbitrary<T> });
}

// A wait lasts as long as it says: nothing would settle within a test.
const ours = Object.values(header).filter((name) => name !== header.wait);
const name = fc.oneof(fc.constantFrom<string>(...ours, "CC", "__proto__", "x-death", "constructor"), text);
const path = fc.oneof(fc.constantFrom("/echo", "echo", "/fails", "/", ""), text);
const value = fc.oneof(text, path, number.map(String), number, fc.boolean(), junk);

const properties: fc.Arbitrary<Properties> = fc.record(
  {
    contentType: mostly(fc.constantFrom("application/json", "application/octet-stream", "text/plain", "")),
    contentEncoding: mostly(fc.constantFrom("utf-8", "gzip", "")),
    type: mostly(path),
    messageId: mostly(text),
    correlationId: mostly(text),
    replyTo: mostly(fc.constantFrom("answers", "nowhere", "")),
    appId: mostly(text),
    expiration: mostly(fc.constantFrom("60000", "600000")),
    headers: mostly(fc.dictionary(name, value, { maxKeys: 8 })),
  },
  { requiredKeys: [] },
);

const message: fc.Arbitrary<Generated> = fc.record({
  lane: fc.constantFrom("calls", "inbox", "told", "copied", "replies"),
  body: fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.json({ maxDepth: 4 }).map((json) => new Uint8Array(Buffer.from(json))),
  ),
  properties,
});

async function expectToSettle(target: FuzzTarget, messages: readonly Generated[]): Promise<void> {
  await target.open();
  for (const each of messages) await target.send(each);
  expect(await target.answersStill()).toBe("still");
  expect(await target.unsettled()).toBe(0);
  const { durable, calls, handled, answers } = target;
  const dead = await target.dead();
  expect(handled).toBeLessThanOrEqual(durable);
  // A call is answered, whether or not its answer finds anyone, or a dead letter.
  expect(handled + dead).toBeGreaterThanOrEqual(durable);
  expect(handled + dead + answers).toBeLessThanOrEqual(durable + calls);
}

it("the embedded broker's services settle whatever comes", async () => {
  const settled = fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 40 }), async (messages) => {
    const target = new FuzzTarget(new Broker("memory:"));
    try {
      await expectToSettle(target, messages);
    } finally {
      await target.close();
    }
  });
  await fc.assert(settled, { numRuns: 300 });
});

it("RabbitMQ's services settle whatever RabbitMQ takes", async () => {
  const many = fc.array(message, { minLength: 60, maxLength: 80, size: "max" });
  const settled = fc.asyncProperty(many, async (messages) => {
    const target = new FuzzTarget(freshBroker());
    try {
      await expectToSettle(target, messages);
    } finally {
      await target.close();
      await deleteNamespace(target.broker.namespace, ["fuzzed", "caller"]);
    }
  });
  await fc.assert(settled, { numRuns: 3, endOnFailure: true });
});
