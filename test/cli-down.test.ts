/** A service that is down, and what waits: a terminal leads there without being told the name. */

import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type Broker, Service, ServiceError, type ServiceOptions, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { type Finished, runCommand, startCommand } from "./support/command-line.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

type Confluo = (line: string, env?: Readonly<Record<string, string>>) => Promise<Finished>;

function openNamespace(services: readonly string[]): { readonly broker: Broker; readonly confluo: Confluo } {
  const broker = freshBroker({ logger: silentLogger });
  cleanUp.push(() => deleteNamespace(broker.namespace, [...services]));
  const own = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
  return { broker, confluo: (line, env) => runCommand(line.split(" "), { env: { ...own, ...env } }) };
}

function make(name: string, options: ServiceOptions = {}): Service {
  const service = new Service(name, { logger: silentLogger, retry: { attempts: 1 }, ...options });
  cleanUp.push(() => service.shutdown());
  return service;
}

/** `mail` gave one up, is gone, and 300 commands wait for it. `web`, which sends them, answers if it stays. */
async function mailIsDown(broker: Broker, { stays }: { readonly stays: boolean }): Promise<void> {
  const mail = make("mail").route("/welcome/:id", () => {
    throw new Error("the mail server refused");
  });
  await mail.connect(broker);
  const web = await make("web").connect(broker);
  await web.send("mail", "/welcome/0");
  await eventually(async () => (await broker.deadLetters("mail").count()) === 1, "the dead letter");
  await mail.shutdown();
  await Promise.all(Array.from({ length: 300 }, (_, n) => web.send("mail", `/welcome/${n}`)));
  if (!stays) await web.shutdown();
}

/** `mail`, to which nobody sends, gave one event up, is gone after `meanwhile`, and three wait for it. Nobody answers. */
async function subscriberIsDown(broker: Broker, meanwhile: () => Promise<void>): Promise<void> {
  const mail = make("mail").subscribe("/placed", () => {
    throw new Error("the mail server refused");
  });
  await mail.connect(broker);
  const web = await make("web").connect(broker);
  await web.publish("/placed", 0);
  await eventually(async () => (await broker.deadLetters("mail").count()) === 1, "the dead letter");
  await meanwhile();
  await mail.shutdown();
  for (let n = 1; n <= 3; n += 1) await web.publish("/placed", n);
  await web.shutdown();
}

describe("a service that is down", { timeout: 180_000 }, () => {
  it("is led to by every look, though nobody names it", async () => {
    const { broker, confluo } = openNamespace(["mail"]);
    await mailIsDown(broker, { stays: true });
    const ls = await confluo("ls");
    expect(ls.code).toBe(0);
    expect(ls.out).toMatch(/^mail +0 +down +– +– +– +– +300 +– +– +– +1$/m);
    expect(ls.out).toMatch(/^web +1 +healthy /m);
    expect((await confluo("ls mail")).out).not.toContain("web ");
    const doctor = await confluo("doctor");
    expect(doctor.code).toBe(1);
    expect(doctor.out).toMatch(
      /^problem +Nobody consumes the inbox queue of mail; 300 wait\. web sends to it\.\n +→ Start an instance of mail\./m,
    );
    expect(doctor.out).toMatch(/^warning +mail has given up 1 message\.$/m);
    expect(doctor.out).toContain("Looked for mail and web.");
    const dead = await confluo("dead ls");
    expect(dead).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^mail +1 +HANDLER_FAILED +\/welcome\/0 /m),
    });
    const show = await confluo("show mail");
    expect(show.code).toBe(0);
    expect(show.out).toContain("No instance answers, and nobody consumes its queues: it is down.");
    expect(show.out).toMatch(/^inbox: 300 waiting, 0 consumers$/m);
    expect(show.out).toMatch(/^dead: 1 waiting, 0 consumers$/m);
    expect(show.out).toMatch(/^used: web sends to it$/m);
    const machine = JSON.parse((await confluo("show mail --json")).out) as object;
    expect(machine).toMatchObject({ service: "mail", instances: [], queues: { inbox: { messages: 300 } } });
    const web = await confluo("show web");
    expect(web.out).toMatch(/^sends to: mail \(301\)$/m);
  });

  it("is seen by its name, here or in the environment, if nobody knows it; and nothing is 'none' that was not looked at", async () => {
    const { broker, confluo } = openNamespace(["mail"]);
    await mailIsDown(broker, { stays: false });
    const blind = await confluo("ls");
    expect(blind.out).toContain("No service answers");
    expect(blind.out).toContain("CONFLUO_SERVICES");
    const none = await confluo("dead ls");
    expect(none.out).toMatch(
      /^There are no orphans\. No service is known here, so no dead letters of services/,
    );
    expect(none.err).toContain("CONFLUO_SERVICES");
    expect((await confluo("doctor")).out).toContain("Looked for no service.");
    const env = { CONFLUO_SERVICES: "mail, stock" };
    const ls = await confluo("ls", env);
    expect(ls.out).toMatch(/^mail +0 +down .* 300 /m);
    expect(ls.out).toMatch(/^stock +0 +missing /m);
    expect((await confluo("dead ls", env)).out).toMatch(/^mail +1 /m);
    expect((await confluo("doctor", env)).out).toMatch(
      /^problem +Nobody consumes the inbox queue of mail; 300/m,
    );
    expect((await confluo("ls mail")).out).toMatch(/^mail +0 +down .* 300 /m);
    const partly = await confluo("ls mail nosuch");
    expect(partly.code).toBe(1);
    expect(partly.out).toMatch(/^mail +0 +down .* 300 /m);
    expect(partly.err).toContain("nosuch");
  });

  it("is not forgotten by who saw it before, though it only subscribes", async () => {
    const { broker } = openNamespace(["mail"]);
    const mail = await make("mail")
      .subscribe("/placed", () => undefined)
      .connect(broker);
    const env = { CONFLUO_BROKER: testBrokerUrl(), CONFLUO_NAMESPACE: broker.namespace };
    const watching = startCommand(["ls", "--watch"], env);
    cleanUp.push(() => watching.kill("SIGKILL"));
    let out = "";
    watching.stdout?.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    await eventually(() => /^mail +1 +healthy /m.test(out), "a line of it");
    await mail.shutdown();
    await eventually(() => /^mail +0 +down /m.test(out), "a line that it is down");
  });

  it("is led to by who saw it before, in another process, until its queues are gone", async () => {
    const { broker, confluo } = openNamespace(["mail"]);
    await subscriberIsDown(broker, async () => {
      expect((await confluo("ls")).out).toMatch(/^mail +1 +healthy /m);
    });
    const ls = await confluo("ls");
    expect(ls.out).toMatch(/^mail +0 +down +– +– +– +– +3 +– +– +– +1$/m);
    expect(ls.out).toContain("or seen from here before");
    expect(JSON.parse((await confluo("ls --json")).out)).toMatchObject([{ service: "mail", health: "down" }]);
    const doctor = await confluo("doctor");
    expect(doctor.code).toBe(1);
    expect(doctor.out).toMatch(/^problem +Nobody consumes the inbox queue of mail; 3 wait\.$/m);
    expect(doctor.out).toMatch(/^warning +Looked for mail\. .* were not seen from here before/m);
    expect((await confluo("dead ls")).out).toMatch(/^mail +1 +HANDLER_FAILED +\/placed /m);
    expect((await confluo("show mail")).out).toMatch(/^inbox: 3 waiting, 0 consumers$/m);

    const off = { CONFLUO_STATE: "off" };
    const blind = await confluo("ls", off);
    expect(blind.out).toContain("No service answers");
    expect(blind.out).not.toContain("seen from here before");
    const unaware = await confluo("doctor", off);
    expect(unaware.out).toContain("Looked for no service.");
    expect(unaware.out).not.toContain("seen from here before");
    expect((await confluo("dead ls", off)).out).toMatch(/^There are no orphans\. No service is known here/);

    // What removes the queues also forgets the name.
    expect((await confluo("rm mail --force --yes")).code).toBe(0);
    for (const env of [{}, off]) {
      const gone = await confluo("ls", env);
      expect(gone).toMatchObject({ code: 0, err: "", out: expect.stringContaining("No service answers") });
      expect(gone.out).not.toContain("mail");
    }
    expect((await confluo("doctor")).out).toContain("Looked for no service.");
  });

  it("is not shown, and forgotten, if its queues went otherwise; and is still missing for those who use it", async () => {
    const { broker, confluo } = openNamespace(["mail"]);
    await subscriberIsDown(broker, async () => {
      await confluo("ls");
    });
    expect((await confluo("ls")).out).toMatch(/^mail +0 +down /m);
    await broker.removeService("mail", { force: true });
    expect((await confluo("doctor")).out).toContain("Looked for no service.");
    expect((await confluo("ls")).out).not.toContain("mail");
    const named = await confluo("ls mail");
    expect(named.code).toBe(1);
    expect(named.out).toMatch(/^mail +0 +missing /m);

    const mail = await make("mail")
      .route("/welcome", () => undefined)
      .connect(broker);
    const web = await make("web").connect(broker);
    await web.call("mail", "/welcome");
    await confluo("ls");
    await mail.shutdown();
    await broker.removeService("mail", { force: true });
    expect((await confluo("ls")).out).toMatch(/^mail +0 +missing /m);
  });

  it("is looked at all the same where nothing can be kept, without a word of it", async () => {
    const { broker, confluo } = openNamespace(["mail"]);
    const env = { XDG_STATE_HOME: join(import.meta.filename, "state") };
    await subscriberIsDown(broker, async () => {
      const seen = await confluo("ls", env);
      expect(seen).toMatchObject({ code: 0, err: "", out: expect.stringMatching(/^mail +1 +healthy /m) });
      expect(seen.out).not.toContain("seen from here before");
    });
    expect(await confluo("ls mail", env)).toMatchObject({ code: 0, err: "" });
    expect((await confluo("ls", env)).out).toContain("No service answers");
    expect(await confluo("rm mail --force --yes", env)).toMatchObject({ code: 0, err: "" });
  });

  it("is not hidden by a name beside it that there is nothing of", async () => {
    const { broker, confluo } = openNamespace(["mail"]);
    await mailIsDown(broker, { stays: false });
    const { code, out, err } = await confluo("dead ls nosuch mail nowhere");
    expect(code).toBe(1);
    expect(out).toMatch(/^mail +1 +HANDLER_FAILED/m);
    expect(err).toContain("There is no service nosuch and nowhere");
  });
});

it("what waits to be tried again is counted, shown and warned of", { timeout: 180_000 }, async () => {
  const { broker, confluo } = openNamespace(["orders"]);
  const orders = make("orders", { retry: { attempts: 3 } }).subscribe("/placed", () => {
    throw new ServiceError("not now", { retry: { afterMs: 256_000 } });
  });
  await orders.connect(broker);
  const web = await make("web").connect(broker);
  for (let n = 0; n < 50; n += 1) await web.publish("/placed", n);
  await eventually(() => orders.stats().subscriptions[0]?.waiting === 50, "fifty to wait");
  const ls = await confluo("ls");
  expect(ls.out).toMatch(/^orders +1 +healthy .* 0 +50 +0 +50 +0 +SERVICE_ERROR: not now$/m);
  expect(ls.out).toContain(
    "RETRY: 50 wait in delay queues, for another try, for an instance that handles them or until they are due.",
  );
  expect((await confluo("show orders")).out).toMatch(/^\/placed +subscription .* 50 +50 +50 +0 /m);
  const warned = /^warning +50 messages of orders failed and will be retried: \/placed 50\.$/m;
  expect((await confluo("doctor")).out).toMatch(warned);
  // Whoever put them there is gone: they are still there.
  await orders.shutdown();
  const after = await confluo("ls", { CONFLUO_SERVICES: "orders" });
  expect(after.out).toContain(
    "RETRY: 50 wait in delay queues, for another try, for an instance that handles them or until they are due, 50 of them from instances that do not answer.",
  );
  expect((await confluo("doctor")).out).toMatch(/^warning +50 messages more in delay queues \(/m);
});
