/** What clients in other languages write otherwise than confluo does, and mean the same by. */

import assert from "node:assert/strict";
import { isConfluoError, type Message, type Properties } from "../../index.ts";
import { eventually } from "../eventually.ts";
import { absent, entriesIn, REPLIES, standIn } from "./mailbox.ts";
import { type Bench, type Define, oneByOne, rejection } from "./suite.ts";

/** An answer before it has its `correlation_id`. */
interface Answer {
  readonly body: string;
  readonly properties: Properties;
}

export const otherLanguages: Define = (it) => {
  for (const status of [404, "404"]) {
    it(`rejects a call whose answer has the status ${JSON.stringify(status)}`, async (bench) => {
      const headers = { "confluo-status": status };
      const error = await refusal(bench, { body: '{"why":"gone"}', properties: { headers } });
      assert.deepEqual(error, { code: "SERVICE_ERROR", status: 404, data: { why: "gone" } });
    });
  }

  for (const [contentType, body, message] of [
    ["text/plain", "no such order", "no such order"],
    ["text/plain", "", undefined],
    ["application/octet-stream", "no such order", "no such order"],
    ["application/json", "{no such order", "{no such order"],
    ["application/json", '"no such order"', "no such order"],
    ["application/json", "", undefined],
  ] as const) {
    const what = body === "" ? "nothing" : body;
    it(`rejects a call by the headers of an error whose body is ${what} as ${contentType}`, async (bench) => {
      const headers = { "confluo-status": 410, "confluo-error": "GONE" };
      const thrown = await callOnce(bench, { body, properties: { contentType, headers } });
      assert.ok(isConfluoError(thrown), String(thrown));
      assert.deepEqual([thrown.code, thrown.status], ["GONE", 410]);
      if (message !== undefined) assert.equal(thrown.message, message);
    });
  }

  it("takes a status that an entry of gathered answers has as text", async (bench) => {
    const caller = await bench.start("caller");
    await absent(bench, "foreigner");
    await standIn(bench, "foreigner", (message, client) => {
      const entries = entriesIn(message).map(({ id }) => ({ id, status: "409", body: "taken" }));
      const { replyTo = "" } = message.properties;
      const body = new TextEncoder().encode(JSON.stringify(entries));
      client.post(replyTo, { body, properties: { contentType: REPLIES } });
    });
    const error = await rejection(caller.call("foreigner", "/"));
    assert.ok(isConfluoError(error) && error.status === 409, String(error));
  });

  it("reads JSON behind a byte order mark, and takes a mark alone for nothing", async (bench) => {
    const seen: unknown[] = [];
    await bench.start("listener", (service) =>
      service.subscribe("/e", ({ body }) => void seen.push(body)).route("/c", ({ body }) => body),
    );
    const exchange = `${bench.broker.namespace}.events`;
    for (const body of ['\uFEFF{"a":1}', "\uFEFF", '"\uFEFF"'])
      await bench.publishForeign(exchange, "e", body, { contentType: "application/json" });
    await eventually(() => seen.length === 3, "the events");
    assert.deepEqual(seen, [{ a: 1 }, undefined, "\uFEFF"]);
  });

  it("keeps what the body of a letter is packed with, also when it is sent back", async (bench) => {
    await bench.start("worker", (service) => service.subscribe("/e", () => undefined).route("/c", () => 1));
    const packed = { contentType: "application/json", contentEncoding: "gzip" } as const;
    const bytes = Uint8Array.of(31, 139, 8, 0);
    await bench.publishForeign(`${bench.broker.namespace}.events`, "e", bytes, packed);
    const box = bench.broker.deadLetters("worker");
    await eventually(async () => (await box.count()) === 1, "a letter");
    const [letter] = await box.list();
    assert.deepEqual([letter?.contentEncoding, letter?.contentType], ["gzip", "application/json"]);
    assert.deepEqual(letter?.body, bytes);
    assert.equal(await box.replay("all"), 1);
    await eventually(async () => (await box.count()) === 1, "the letter again");
    const { body, properties } = await bench.takeDead("worker");
    assert.deepEqual([properties.contentEncoding, Buffer.from(body)], ["gzip", Buffer.from(bytes)]);
  });

  it("counts tries that are numbers", async (bench) => {
    await bench.start("worker", (service) =>
      service.route("/job", () => {
        throw new Error("no");
      }),
    );
    const headers = { "confluo-attempt": 7, "confluo-query": 1, "confluo-from": true };
    await bench.publishForeign("", bench.queue("worker", "inbox"), "1", { type: "/job", headers });
    const box = bench.broker.deadLetters("worker");
    await eventually(async () => (await box.count()) === 1, "a letter");
    const [letter] = await box.list();
    assert.deepEqual([letter?.attempts, letter?.query, letter?.from], [7, "1", "true"]);
  });
};

/** What a call rejects with that a stand-in answers so. */
async function callOnce(bench: Bench, { body, properties }: Answer): Promise<unknown> {
  const caller = await bench.start("caller", undefined, oneByOne);
  await absent(bench, "foreigner");
  await standIn(bench, "foreigner", (message, client) => {
    const { replyTo = "", correlationId = "" } = message.properties;
    const answer: Message = {
      body: new TextEncoder().encode(body),
      properties: { ...properties, correlationId },
    };
    client.post(replyTo, answer);
  });
  return rejection(caller.call("foreigner", "/"));
}

async function refusal(bench: Bench, answer: Answer): Promise<object> {
  const thrown = await callOnce(bench, answer);
  assert.ok(isConfluoError(thrown), String(thrown));
  const { code, status, data } = thrown;
  return { code, status, data };
}
