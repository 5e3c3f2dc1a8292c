/** TLS as RabbitMQ's own listener has it: whom either side trusts, and users that are known by their certificate. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { findNodeStarter } from "../scripts/test-broker.mjs";
import { Broker, isConfluoError, Service, silentLogger, type TlsOptions } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { CertificateAuthority } from "./support/certificates.ts";
import { runCommand } from "./support/command-line.ts";
import { testBrokerUrl } from "./support/rabbitmq.ts";
import {
  CERTIFIED_USER,
  LOOKING_USER,
  OPERATED_USER,
  PASSWORD,
  SERVER_NAME,
  startTlsNode,
  type TlsNode,
} from "./support/tls-node.ts";

const start = await findNodeStarter(testBrokerUrl());
if (typeof start === "string") console.warn(`The tests of TLS are NOT RUN: ${start}.`);

// Well before the 5 s after which an attempt that gets no answer is given up.
const AT_ONCE_MS = 3_000;
const A_FEW_ATTEMPTS_MS = 1_500;

describe.skipIf(typeof start === "string")("TLS", () => {
  const authority = new CertificateAuthority("the fleet's CA");
  const stranger = new CertificateAuthority("a stranger's CA");
  const ca = authority.cert;
  const services: Service[] = [];
  let open: TlsNode;
  let strict: TlsNode;

  beforeAll(async () => {
    if (typeof start === "string") return;
    [open, strict] = await Promise.all([
      startTlsNode(start, authority, "any"),
      startTlsNode(start, authority, "required"),
    ]);
  });

  afterAll(async () => {
    await Promise.all([open?.stop(), strict?.stop()]);
  });

  afterEach(async () => {
    await Promise.all(services.splice(0).map((service) => service.shutdown({ timeoutMs: 1_000 })));
  });

  function serviceAt(address: string, tls?: TlsOptions, namespace = CERTIFIED_USER): Service {
    const options = { namespace, logger: silentLogger, ...(tls === undefined ? {} : { tls }) };
    const service = new Service("a", { broker: new Broker(address, options), logger: silentLogger });
    services.push(service);
    return service.route("/", ({ body }) => body);
  }

  async function answer(address: string, tls?: TlsOptions): Promise<unknown> {
    const service = await serviceAt(address, tls).connect();
    return (await service.call("a", "/", "answered")).body;
  }

  /** What connecting rejects with, which must be an error of confluo's, and soon. */
  async function refusal(
    address: string,
    tls?: TlsOptions,
    { namespace, timeoutMs = AT_ONCE_MS }: { readonly namespace?: string; readonly timeoutMs?: number } = {},
  ): Promise<Error> {
    const began = performance.now();
    const connecting: Promise<unknown> = serviceAt(address, tls, namespace).connect(undefined, { timeoutMs });
    const error = await connecting.then(
      () => new Error("connected"),
      (reason: unknown) => reason,
    );
    expect(performance.now() - began).toBeLessThan(AT_ONCE_MS + 1_000);
    if (!isConfluoError(error)) throw error;
    return error;
  }

  const asGuest = (url: string): string => url.replace("//", `//guest:${encodeURIComponent(PASSWORD)}@`);

  describe("of the broker's certificate", () => {
    it("connects with the CA that signed it", async () => {
      expect(await answer(asGuest(open.url), { ca })).toBe("answered");
    });

    it("refuses one that no known CA signed, and says which option to give", async () => {
      for (const tls of [undefined, { ca: stranger.cert }])
        expect(await refusal(asGuest(open.url), tls)).toMatchObject({
          code: "ACCESS_REFUSED",
          message: expect.stringMatching(/certificate.*as tls\.ca \(CONFLUO_CA\)\.$/),
        });
    });

    it("refuses one for another host, and takes it for the name that is given as servername", async () => {
      const elsewhere = asGuest(open.url).replace("127.0.0.1", "localhost");
      expect(await refusal(elsewhere, { ca })).toMatchObject({
        code: "ACCESS_REFUSED",
        message: expect.stringMatching(/localhost.*tls\.servername/),
      });
      expect(await refusal(asGuest(open.url), { ca, servername: "other.test" })).toMatchObject({
        code: "ACCESS_REFUSED",
        message: expect.stringContaining("other.test"),
      });
      expect(await answer(elsewhere, { ca, servername: SERVER_NAME })).toBe("answered");
    });

    it("takes any one only when told so", async () => {
      expect(await answer(asGuest(open.url), { rejectUnauthorized: false })).toBe("answered");
    });
  });

  describe("of a broker that wants a certificate of its clients", () => {
    const client = { ca, ...authority.issue({ name: "somebody" }) };

    it("connects with one of the CA, by user and password", async () => {
      expect(await answer(asGuest(strict.url), client)).toBe("answered");
    });

    it("says that the certificates do not fit when there is none", async () => {
      expect(await refusal(asGuest(strict.url), { ca })).toMatchObject({
        code: "ACCESS_REFUSED",
        message: expect.stringMatching(
          /do not fit: [\w ]*certificate required\. Give .*tls\.cert and tls\.key/,
        ),
      });
    });

    it("says so of a certificate that another CA signed, and of one that has expired", async () => {
      const expired = authority.issue({ name: "somebody", until: new Date(Date.now() - 60_000) });
      for (const identity of [stranger.issue({ name: "somebody" }), expired])
        expect(await refusal(asGuest(strict.url), { ca, ...identity })).toMatchObject({
          code: "ACCESS_REFUSED",
          message: expect.stringMatching(/do not fit: [\w /]+\. Give .*tls\.cert and tls\.key/),
        });
    });
  });

  describe('with authentication: "certificate"', () => {
    const certified = (name: string): TlsOptions => ({
      ca,
      ...authority.issue({ name }),
      authentication: "certificate",
    });

    it("is the user whom the certificate names, without a password and with that user's rights", async () => {
      expect(await answer(strict.url, certified(CERTIFIED_USER))).toBe("answered");
      expect(await refusal(strict.url, certified(CERTIFIED_USER), { namespace: "elsewhere" })).toMatchObject({
        code: "ACCESS_REFUSED",
        message: expect.stringContaining(`user '${CERTIFIED_USER}'`),
      });
    });

    it("is refused for a user whom the broker does not know, whatever the URL says", async () => {
      for (const url of [strict.url, asGuest(strict.url)])
        expect(await refusal(url, certified("nobody"))).toMatchObject({
          code: "ACCESS_REFUSED",
          message: expect.stringContaining("the user whom the certificate names"),
        });
    });

    it("is refused by a broker that does not offer it", async () => {
      expect(await refusal(open.url, certified(CERTIFIED_USER))).toMatchObject({ code: "ACCESS_REFUSED" });
    });
  });

  it("the rights that operators are told to give are enough for all that services and the command line do", async () => {
    const urlOf = (user: string): string =>
      open.plainUrl.replace("//", `//${user}:${encodeURIComponent(PASSWORD)}@`);
    const url = urlOf(OPERATED_USER);
    const broker = new Broker(url, { logger: silentLogger });
    const connect = async (service: Service): Promise<Service> => {
      services.push(service);
      return service.connect(broker);
    };
    let isBroken = true;
    const mail = new Service("mail", {
      logger: silentLogger,
      retry: { attempts: 2, backoff: { firstMs: 250 } },
    });
    await connect(
      mail
        .route("/sent", () => !isBroken)
        .subscribe("/placed", () => {
          if (isBroken) throw new Error("refused");
        })
        .subscribe("/placed", () => undefined, { per: "instance" }),
    );
    const shop = await connect(new Service("shop", { logger: silentLogger }));
    await shop.publish("/placed", {});
    await eventually(async () => (await broker.deadLetters("mail").count()) === 1, "the dead letter");
    expect((await shop.call("mail", "/sent")).body).toBe(false);
    isBroken = false;
    expect(await broker.deadLetters("mail").replay(() => true)).toBe(1);
    const handled = async () => (await broker.stats({ service: "mail" }))[0]?.subscriptions[0]?.handled;
    await eventually(async () => (await handled()) === 1, "the replayed event");
    const env = { CONFLUO_BROKER: url };
    expect((await runCommand(["ls", "--json"], { env })).out).toContain('"service":"mail"');
    expect(await runCommand(["doctor"], { env })).toMatchObject({ code: 0, err: "" });
    const elsewhere = await runCommand(["doctor", "--namespace", "other"], { env });
    expect([elsewhere.code, elsewhere.out + elsewhere.err]).toEqual([
      1,
      expect.stringContaining("docs/operations.md"),
    ]);
    const looking = { env: { CONFLUO_BROKER: urlOf(LOOKING_USER) } };
    expect((await runCommand(["ls", "--json"], looking)).out).toContain('"service":"mail"');
    expect((await runCommand(["show", "mail"], looking)).out).toContain("/placed");
    const tail = runCommand(["tail", "/placed", "--count", "1"], looking);
    const publishing = setInterval(() => shop.publish("/placed", { seen: true }).catch(() => undefined), 100);
    expect((await tail.finally(() => clearInterval(publishing))).out).toContain("seen");
    const asked = await runCommand(["publish", "/placed"], looking);
    expect([asked.code, asked.err]).toEqual([3, expect.stringContaining("refused for user")]);
    // Eight processes.
  }, 60_000);

  it("is named where one side speaks it and the other does not", async () => {
    const limits = { timeoutMs: A_FEW_ATTEMPTS_MS };
    const plain = asGuest(open.url).replace("amqps:", "amqp:");
    expect(await refusal(plain, undefined, limits)).toMatchObject({ code: "BROKER_UNREACHABLE" });
    const secure = asGuest(open.plainUrl).replace("amqp:", "amqps:");
    expect(await refusal(secure, { ca }, limits)).toMatchObject({
      code: "BROKER_UNREACHABLE",
      message: expect.stringContaining("does not speak TLS"),
    });
  });
});
