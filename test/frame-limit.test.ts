/** Connections that take only small frames: a message whose headers do not fit costs nobody else anything. */

import { connect } from "amqplib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Broker, isConfluoError, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const FRAME_MAX = 8_192; // every version takes that
const big = "h".repeat(10_000);
const stray = { retry: { attempts: 1 }, logger: silentLogger };

let wide: Broker;
let handling: Service;
let calling: Service;
let losses = 0;
let runs = 0;

const narrow = (frameMax: number): string => {
  const url = new URL(testBrokerUrl().split(",")[0] ?? "");
  url.searchParams.set("frameMax", String(frameMax));
  return url.href;
};

// RabbitMQ 4.3 sorts them.
const nameOf = (n: number): string => `h${String(n).padStart(2, "0")}`;

const outcomeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "ok",
    (error: unknown) => (isConfluoError(error) ? error.code : String(error)),
  );

beforeAll(async () => {
  wide = freshBroker({ logger: silentLogger });
  const { namespace } = wide;
  const broker = (): Broker => new Broker(narrow(FRAME_MAX), { namespace, logger: silentLogger });
  handling = new Service("handling", { ...stray, broker: broker() });
  calling = new Service("calling", { ...stray, broker: broker() });
  handling.route("/", () => 1);
  handling.route("/big", ({ reply }) => reply(1, { headers: { big } }));
  handling.route("/fails", () => {
    runs += 1;
    throw new Error("ü".repeat(1_900));
  });
  for (const service of [handling, calling])
    service.onState(({ to }) => {
      if (to === "reconnecting") losses += 1;
    });
  await Promise.all([handling.connect(), calling.connect()]);
});

afterAll(async () => {
  await Promise.all([handling.shutdown(), calling.shutdown()]);
  await deleteNamespace(wide.namespace, ["handling", "calling"]);
});

it("a call, command or event with too much in its headers is refused at once, and its neighbours are not", async () => {
  const headers = { big };
  const all = await Promise.all([
    outcomeOf(calling.call("handling", "/")),
    outcomeOf(calling.call("handling", "/", 1, { headers })),
    outcomeOf(calling.send("handling", "/", 1, { headers })),
    outcomeOf(calling.publish("/e", 1, { headers })),
    outcomeOf(calling.publish("/e", 1)),
    outcomeOf(calling.call("handling", "/")),
  ]);
  const refused = Array.from({ length: 3 }, () => "INVALID_ARGUMENT");
  expect(all).toEqual(["ok", ...refused, "ok", "ok"]);
  await expect(calling.publish("/e", 1, { headers })).rejects.toThrow(/put what is large into the body/);
  expect(losses).toBe(0);
});

it("headers that just fit go through, though a call also asks what its service takes", async () => {
  const headers = { big: "h".repeat(7_900) };
  for (let n = 0; n < 3; n += 1)
    expect(await outcomeOf(calling.call("handling", "/", 1, { headers }))).toBe("ok");
  expect(losses).toBe(0);
});

it("an answer with too much in its headers is an error at once", async () => {
  await expect(calling.call("handling", "/big")).rejects.toMatchObject({
    code: "INVALID_OUTPUT",
    status: 500,
  });
  expect(losses).toBe(0);
});

it("a story that is too long is cut, headers of a foreign sender go from the last on, and the message stays", async () => {
  const client = await wide.openClient();
  const headers = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [nameOf(n), "v".repeat(500)]));
  const message = { body: Buffer.from("7"), properties: { type: "/fails", messageId: "m", headers } };
  const queue = `${wide.namespace}.handling.inbox`;
  await new Promise<void>((resolve) =>
    client.publish({ exchange: "", key: queue }, message, () => resolve()),
  );
  await calling.send("handling", "/fails");
  const letters = wide.deadLetters("handling");
  await eventually(async () => (await letters.count()) === 2, "the letters");
  expect(runs).toBe(2);
  expect(losses).toBe(0);
  for (const letter of await letters.list()) {
    expect(letter.error?.code).toBe("HANDLER_FAILED");
    if (letter.id !== "m") continue;
    expect(letter.body).toBe(7);
    const kept = Object.keys(letter.headers);
    expect(kept.length).toBeGreaterThan(5);
    expect(kept).toEqual(Array.from(kept, (_, n) => nameOf(n)));
  }
  await client.close();
});

it("frames smaller than the broker takes are told as what they are", async () => {
  const connection = await connect(testBrokerUrl().split(",")[0] ?? "");
  const { version } = connection.connection.serverProperties;
  await connection.close();
  const [major = 0, minor = 0] = String(version).split(".").map(Number);
  const takes = major < 4 || (major === 4 && minor < 1);
  const service = new Service("tiny", { broker: narrow(4_096), logger: silentLogger });
  const outcome = await outcomeOf(service.connect(undefined, { timeoutMs: 10_000 }));
  expect(outcome).toBe(takes ? "ok" : "INVALID_ARGUMENT");
  await service.shutdown();
  expect(() => new Broker(narrow(4_095))).toThrow(/frameMax/);
});
