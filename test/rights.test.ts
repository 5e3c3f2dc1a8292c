/** Rights and limits of a user, on a node of one's own: what is missing is named, and costs nobody else anything. */

import { randomBytes } from "node:crypto";
import { expect, it, type TestContext, vi } from "vitest";
import { Broker, isConfluoError, Service, ServiceError, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { nodeForThisFile } from "./support/own-node.ts";

// Each command to the node is a program of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const nodeOf = nodeForThisFile();

/** A namespace and a user that may do anything in it, at first. */
async function userOf(context: TestContext): Promise<{
  readonly namespace: string;
  readonly lines: string[];
  broker(as?: "guest"): Broker;
  control(...args: string[]): Promise<string>;
  mayWrite(pattern: string): Promise<unknown>;
  readonly name: string;
}> {
  const { url, control } = nodeOf(context);
  if (control === undefined) return context.skip("the node cannot be controlled");
  const name = `u${randomBytes(4).toString("hex")}`;
  const namespace = `n${name}`;
  const run = (...args: string[]): Promise<string> => control(args);
  const mayWrite = (pattern: string): Promise<unknown> =>
    run("set_permissions", "-p", "/", name, ".*", pattern, ".*");
  await run("add_user", name, "pw");
  await mayWrite(".*");
  const own = new URL(url);
  own.username = name;
  own.password = "pw";
  const lines: string[] = [];
  const line = (_: object, message: string): void => void lines.push(message);
  const logger = { ...silentLogger, warn: line, error: line };
  return {
    namespace,
    lines,
    name,
    control: run,
    mayWrite,
    broker: (as) => new Broker(as === "guest" ? url : own.href, { namespace, logger }),
  };
}

const outcomeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "ok",
    (error: unknown) => (isConfluoError(error) ? error.code : String(error)),
  );

it("an event that may not be published is refused by itself, and its neighbours of the same turn go out", async (context) => {
  const { namespace, broker, control, name, lines } = await userOf(context);
  const heard: unknown[] = [];
  const hearing = new Service("hearing", { broker: broker("guest"), logger: silentLogger });
  hearing.subscribe("/ok/#", ({ body }) => void heard.push(body));
  hearing.route("/", () => "answer");
  await hearing.connect();
  await control("set_topic_permissions", "-p", "/", name, `${namespace}.events`, "^ok[.].*", ".*");
  const shared = broker();
  const telling = new Service("telling", { broker: shared, logger: silentLogger });
  const other = new Service("other", { broker: shared, logger: silentLogger });
  await Promise.all([telling.connect(), other.connect()]);
  for (let round = 0; round < 5; round += 1) {
    const at = (n: number): number => round * 100 + n;
    const good = Array.from({ length: 40 }, (_, n) => outcomeOf(other.publish("/ok/x", at(n))));
    // Names of their own: the broker cuts its words where a key is long.
    const bad = [`/secret/${round}`, `/secret/${"x".repeat(230)}${round}`, "/secret/it's"].map((path) =>
      outcomeOf(telling.publish(path)),
    );
    const after = Array.from({ length: 40 }, (_, n) => outcomeOf(other.publish("/ok/x", at(n + 40))));
    const call = outcomeOf(other.call("hearing", "/"));
    expect(await Promise.all(bad)).toEqual(bad.map(() => "ACCESS_REFUSED"));
    expect(new Set(await Promise.all([...good, ...after, call]))).toEqual(new Set(["ok"]));
  }
  await eventually(() => new Set(heard).size === 400, "all events");
  // Each may have been sent twice, and no more often than that.
  expect(heard.length).toBeLessThanOrEqual(800);
  expect(lines.filter((line) => line.includes("refuses what is published"))).toHaveLength(1);
  await Promise.all([hearing.shutdown(), telling.shutdown(), other.shutdown()]);
});

it("a right that is taken away is named by every verb, on the log and in health, until it is given back", async (context) => {
  const { broker, mayWrite, lines } = await userOf(context);
  const service = new Service("revoked", { broker: broker(), logger: silentLogger });
  service.route("/", () => 1).subscribe("/e", () => undefined);
  await service.connect();
  await service.publish("/e");
  expect(service.health()).toMatchObject({ status: "healthy", reason: undefined });
  await mayWrite("^$");
  const verbs = [
    () => service.publish("/e"),
    () => service.call("revoked", "/"),
    () => service.send("revoked", "/"),
  ];
  for (const verb of verbs) {
    await refused(verb);
    await expect(verb()).rejects.toThrow(/refused for user/);
  }
  const { status, reason } = service.health();
  expect(status).toBe("degraded");
  expect(reason).toMatchObject({ code: "ACCESS_REFUSED" });
  expect(reason?.message).toContain("refused for user");
  const told = lines.filter((line) => line.includes("refuses what is published"));
  expect(told).toHaveLength(2); // for the events exchange and for the default one
  await mayWrite(".*");
  for (const verb of verbs)
    await eventually(async () => (await outcomeOf(verb())) === "ok", "what is allowed again");
  expect(service.health()).toMatchObject({ status: "healthy", reason: undefined });
  await service.shutdown();
});

it("levels that may not be declared are named, and what is to wait there is kept or refused, until they may", async (context) => {
  const { broker, control, name, namespace, lines } = await userOf(context);
  const mayDeclare = (pattern: string): Promise<string> =>
    control("set_permissions", "-p", "/", name, pattern, ".*", ".*");
  await mayDeclare(`^(?!${namespace}\\.wait\\.)`);
  const attempts: number[] = [];
  const service = new Service("waiting", { broker: broker(), logger: silentLogger, retry: { attempts: 2 } });
  service.route("/", ({ attempt }) => {
    attempts.push(attempt);
    if (attempt === 1) throw new ServiceError("busy", { retry: { afterMs: 250 } });
  });
  await service.connect();
  expect(await outcomeOf(service.send("waiting", "/", 1, { delayMs: 250 }))).toBe("ACCESS_REFUSED");
  expect(await outcomeOf(service.publish("/e", 1, { delayMs: 250 }))).toBe("ACCESS_REFUSED");
  await service.send("waiting", "/");
  await eventually(() => lines.some((line) => line.includes("did not reach")), "the warning");
  expect(lines.find((line) => line.includes("did not reach"))).toContain(`${namespace}.wait.0`);
  expect(attempts).toEqual([1]);
  await mayDeclare(".*");
  await eventually(() => attempts.length === 2, "the retry", { timeoutMs: 20_000 });
  await service.send("waiting", "/", 1, { delayMs: 250 });
  await eventually(() => attempts.length === 4, "the delayed command and its retry", { timeoutMs: 20_000 });
  await service.shutdown();
});

it("a user who may not connect any more is the reason in health, until it may", async (context) => {
  const { broker, control, name } = await userOf(context);
  const service = new Service("expired", { broker: broker(), logger: silentLogger }).route("/", () => 1);
  await service.connect();
  await control("change_password", name, "another");
  await control("close_all_connections", "for a test");
  await eventually(() => service.health().reason?.code === "ACCESS_REFUSED", "the reason");
  expect(service.health().status).toBe("down");
  await control("change_password", name, "pw");
  await eventually(() => service.health().status === "healthy", "the connection");
  expect(service.health().reason).toBeUndefined();
  await service.shutdown();
});

it("a limit on connections is named and waited for", async (context) => {
  const { broker, control, name } = await userOf(context);
  // RabbitMQ counts connections a little later than it opens them: two at the same time may both get in.
  const held = await broker().openClient();
  await control("set_user_limits", name, '{"max-connections":1}');
  const connecting = (timeoutMs: number): Promise<unknown> =>
    new Service("limited", { broker: broker(), logger: silentLogger }).connect(undefined, { timeoutMs });
  await expect(connecting(1_500)).rejects.toMatchObject({
    code: "UNAVAILABLE",
    message: expect.stringMatching(/limit on connections: .*user connection limit \(1\) is reached/),
    data: { limit: "connections" },
  });
  const service = new Service("limited", { broker: broker(), logger: silentLogger });
  const waiting = service.connect();
  await eventually(() => service.health().reason?.code === "UNAVAILABLE", "the reason");
  await control("set_user_limits", name, '{"max-connections":-1}');
  await waiting;
  await service.shutdown();
  await held.close();
});

it("a limit on queues is no conflict, and a vhost that is not there no limit", async (context) => {
  const { broker, control, name, namespace } = await userOf(context);
  await control("add_vhost", namespace);
  await control("set_permissions", "-p", namespace, name, ".*", ".*", ".*");
  await control("set_vhost_limits", "-p", namespace, '{"max-queues":0}');
  const at = (vhost: string): string => {
    const { description } = broker();
    return `${description.replace("amqp://", `amqp://${name}:pw@`)}/${vhost}`;
  };
  const connecting = (vhost: string): Promise<unknown> =>
    new Service("limited", { broker: at(vhost), logger: silentLogger }).connect(undefined, {
      timeoutMs: 1_500,
    });
  await expect(connecting(namespace)).rejects.toMatchObject({
    code: "UNAVAILABLE",
    message: expect.stringMatching(/limit on queues: .*queue limit in vhost/),
  });
  await expect(connecting("nowhere")).rejects.toMatchObject({
    code: "ACCESS_REFUSED",
    message: expect.stringMatching(/vhost nowhere not found/),
  });
  await control("delete_vhost", namespace);
});

it("a limit on channels that the broker enforces is named, and makes no storm of connections", async (context) => {
  const { broker, control, name } = await userOf(context);
  // A client has five channels before it consumes. RabbitMQ counts channels a little later than it opens them, so those of this
  // one fill the limit, and whichever comes next is too many.
  const held = await broker().openClient();
  await control("set_user_limits", name, '{"max-channels":10}');
  const service = new Service("limited", { broker: broker(), logger: silentLogger });
  let losses = 0;
  service.onState(({ to }) => {
    if (to === "reconnecting") losses += 1;
  });
  service.route("/", () => 1).subscribe("/e", () => undefined);
  await expect(service.connect(undefined, { timeoutMs: 4_000 })).rejects.toMatchObject({
    code: "UNAVAILABLE",
    message: expect.stringMatching(/limit on channels: .*number of channels opened/),
  });
  expect(losses).toBeLessThanOrEqual(5);
  await held.close();
});

// A channel of RabbitMQ remembers what it was allowed until it has been idle for a moment.
async function refused(verb: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; tries < 6; tries += 1) {
    if ((await outcomeOf(verb())) === "ACCESS_REFUSED") return;
    await new Promise((resolve) => setTimeout(resolve, 3_000));
  }
  expect(await outcomeOf(verb())).toBe("ACCESS_REFUSED");
}
