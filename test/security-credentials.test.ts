/** Whatever goes wrong with a connection, no log line and no error shows the password. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { findNodeStarter } from "../scripts/test-broker.mjs";
import { Broker, type BrokerAddress, isConfluoError, Service, type TlsOptions } from "../src/index.ts";
import { consoleLogger } from "../src/logging/logger.ts";
import { eventually } from "../src/testing/index.ts";
import { CertificateAuthority } from "./support/certificates.ts";
import { freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";
import { Secret } from "./support/secrets.ts";
import { TcpProxy } from "./support/tcp-proxy.ts";
import { CERTIFIED_USER, PASSWORD, startTlsNode, type TlsNode } from "./support/tls-node.ts";

const PASSWORDS = ["a%b@c:d/e?f#g-hunter2", "hunter2-pässwörd-€-密码"];
const A_FEW_ATTEMPTS_MS = 1_500;

const printed: string[] = [];
const logged: { readonly level: string; readonly details: object; readonly message: string }[] = [];
const services: Service[] = [];

const line = (level: "debug" | "info" | "warn" | "error") => (details: object, message: string) => {
  logged.push({ level, details, message });
  consoleLogger[level](details, message);
};
const logger = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };

beforeEach(() => {
  for (const method of ["log", "info", "warn", "error", "debug"] as const)
    vi.spyOn(console, method).mockImplementation(
      (...all: unknown[]) => void printed.push(all.map(String).join(" ")),
    );
});

afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.shutdown({ timeoutMs: 500 })));
  vi.restoreAllMocks();
  printed.length = 0;
  logged.length = 0;
});

function withCredentials(url: string, password: string, user = "guest"): string {
  return url.replace("//", `//${user}:${encodeURIComponent(password)}@`);
}

function serviceAt(address: BrokerAddress, tls?: TlsOptions): Service {
  const options = { namespace: freshBroker().namespace, logger, ...(tls === undefined ? {} : { tls }) };
  const broker = typeof address === "string" ? new Broker(address, options) : address;
  const service = new Service("careful", { broker, logger });
  services.push(service);
  return service.route("/", () => 1);
}

/** The error of an attempt to connect, once nothing of it and of what was logged and printed shows the secret. */
async function failureOf(act: () => unknown, password: string): Promise<unknown> {
  const secret = new Secret(password);
  const error = await Promise.resolve()
    .then(act)
    .then(
      () => undefined,
      (reason: unknown) => reason,
    );
  expect(secret.findIn(error), "in the error").toEqual([]);
  expect(secret.findIn(logged), "in what was logged").toEqual([]);
  expect(secret.findIn(printed), "in what was printed").toEqual([]);
  expect(secret.findIn(services.map((service) => [service, service.state])), "in the service").toEqual([]);
  return error;
}

function connectTo(address: string, tls?: TlsOptions): () => Promise<Service> {
  return () => serviceAt(address, tls).connect();
}

/** What is tried again for as long as the deadline allows. */
function tryToReach(address: string, tls?: TlsOptions): () => Promise<Service> {
  return () => serviceAt(address, tls).connect(undefined, { timeoutMs: A_FEW_ATTEMPTS_MS });
}

it("a secret is found in every form, so that the tests below mean something", () => {
  for (const password of PASSWORDS) {
    const secret = new Secret(password);
    const error = new Error("outer", {
      cause: Object.assign(new Error("inner"), { address: `amqp://u:${encodeURIComponent(password)}@h` }),
    });
    expect(secret.findIn({ error })).not.toEqual([]);
    expect(secret.findIn([{ bytes: Buffer.from(`\0u\0${password}`) }])).not.toEqual([]);
    expect(secret.findIn(new Error("x"))).toEqual([]);
  }
});

describe.each(PASSWORDS)("the password %s is not shown", (password) => {
  const at = (place: string): string => withCredentials(`amqp://${place}`, password, "somebody");

  it("when nobody answers", async () => {
    for (const place of ["127.0.0.1:1", "[::1]:1/vhost", "no-such-host.invalid"])
      expect(await failureOf(tryToReach(at(place)), password)).toMatchObject({ code: "BROKER_UNREACHABLE" });
    const cluster = [at("127.0.0.1:1"), at("127.0.0.1:2")];
    const service = (): unknown =>
      new Service("careful", { logger }).connect(cluster, { timeoutMs: A_FEW_ATTEMPTS_MS });
    expect(await failureOf(service, password)).toMatchObject({ code: "BROKER_UNREACHABLE" });
  });

  it("when the broker refuses it", async () => {
    const { host } = new URL(testBrokerUrl());
    expect(await failureOf(connectTo(at(host)), password)).toMatchObject({ code: "ACCESS_REFUSED" });
    const broker = new Broker(at(host), { logger });
    expect(await failureOf(() => broker.queue("some"), password)).toMatchObject({ code: "ACCESS_REFUSED" });
    expect(await failureOf(() => broker.openClient(), password)).toMatchObject({ code: "ACCESS_REFUSED" });
    expect(new Secret(password).findIn(broker)).toEqual([]);
  });

  it("when what answers speaks no TLS, cuts the connection or says nothing", async () => {
    const { host } = new URL(testBrokerUrl());
    const secure = at(host).replace("amqp:", "amqps:");
    expect(await failureOf(tryToReach(secure), password)).toMatchObject({ code: "BROKER_UNREACHABLE" });
    const proxy = new TcpProxy();
    const { host: behind } = new URL(await proxy.listen());
    for (const state of [{ refusing: true }, { refusing: false, muted: true }]) {
      Object.assign(proxy, state);
      const error = await failureOf(tryToReach(at(behind)), password);
      expect(["BROKER_UNREACHABLE", "TIMEOUT"]).toContain((error as { code?: unknown }).code);
    }
    await proxy.close();
  });

  it("when the URL is malformed", async () => {
    const raw = encodeURIComponent(password);
    const urls = [
      `amqp://user:${raw}`,
      `amqp://user:${raw}@`,
      `amqp://user:${raw}@host:port`,
      `amqp://user:${raw}@host:99999`,
      `amqp://user:${raw}@ho st`,
      `amqp://us er:${raw}@[host`,
      `amqp://user:%zz${raw}@host`,
      `amqp://user:${raw}@host/%zz`,
      `http://user:${raw}@host`,
      `amqp:user:${raw}@host`,
      `amqp:/user:${raw}@host`,
      `//user:${raw}@host`,
      `user:${raw}@host`,
      ` amqp://user:${raw}@host`,
      `"amqp://user:${raw}@host"`,
      `amqp://user:${raw}@host:5672,amqp://user:${raw}@other`,
      `amqp://user:1?${raw}@host:port`,
      `amqp://user:1#${raw}@host:port`,
    ];
    for (const url of urls) {
      const error = await failureOf(tryToReach(url), password);
      expect(["INVALID_ARGUMENT", "BROKER_UNREACHABLE"], url).toContain((error as { code?: unknown }).code);
    }
  });

  it("when CONFLUO_BROKER is malformed", async () => {
    for (const value of [`${at("host")},`, at("ho st"), `user:${encodeURIComponent(password)}@host`]) {
      vi.stubEnv("CONFLUO_BROKER", value);
      const error = await failureOf(() => new Service("careful", { logger }).connect(), password);
      expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    vi.unstubAllEnvs();
  });

  it("when the address is in the wrong place", async () => {
    const url = at("host");
    const as = (value: unknown): never => value as never;
    for (const act of [
      () => new Service(url),
      () => new Service("careful", as(url)),
      () => new Service("careful", { broker: as({ url }) }),
      () => new Service("careful", { [url]: 1 } as never),
      () => new Broker(as([url, 5])),
      () => new Broker(as(new URL(url))),
      () => new Broker("memory:", as(url)),
      () => new Broker("memory:", { namespace: url }),
      () => new Broker([url, "memory:"]),
      () => new Service("careful").connect(undefined, as(url)),
      () => new Service("careful").connect(as([[url]])),
    ])
      expect(await failureOf(act, password)).toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("when TLS options cannot be used, neither is a key or its passphrase", async () => {
    const key = new CertificateAuthority("any").issue({ name: "any" }).key;
    for (const tls of [
      { passphrase: password, key: `${key}x${password}` },
      { ca: password },
      { pfx: password, passphrase: password },
    ]) {
      const error = await failureOf(
        tryToReach(withCredentials("amqps://127.0.0.1:1", password), tls),
        password,
      );
      expect(isConfluoError(error)).toBe(true);
    }
  });
});

const start = await findNodeStarter(testBrokerUrl());
if (typeof start === "string") console.warn(`What needs a password that is right is NOT RUN: ${start}.`);

describe.skipIf(typeof start === "string")("a password that the broker takes is not shown", () => {
  const authority = new CertificateAuthority("the fleet's CA");
  const client = { ca: authority.cert, ...authority.issue({ name: "somebody" }) };
  let node: TlsNode;

  beforeAll(async () => {
    if (typeof start !== "string") node = await startTlsNode(start, authority, "required");
  });

  afterAll(() => node?.stop());

  it("when the vhost is refused", async () => {
    const url = `${withCredentials(node.plainUrl, PASSWORD)}/no-such-vhost`;
    expect(await failureOf(connectTo(url), PASSWORD)).toMatchObject({
      code: "ACCESS_REFUSED",
      message: expect.stringContaining("no-such-vhost"),
    });
  });

  it("when certificates do not fit", async () => {
    const url = withCredentials(node.url, PASSWORD);
    for (const [address, tls] of [
      [url, undefined],
      [url, { ca: authority.cert }],
      [url.replace("127.0.0.1", "localhost"), client],
      [url, { ...client, ...authority.issue({ name: "nobody" }), authentication: "certificate" }],
    ] as const)
      expect(await failureOf(connectTo(address, tls), PASSWORD)).toMatchObject({ code: "ACCESS_REFUSED" });
  });

  it("when the user lacks a right", async () => {
    const tls = {
      ...client,
      ...authority.issue({ name: CERTIFIED_USER }),
      authentication: "certificate",
    } as const;
    const url = withCredentials(node.url, PASSWORD);
    expect(await failureOf(connectTo(url, tls), PASSWORD)).toMatchObject({ code: "ACCESS_REFUSED" });
  });

  it("when the connection is lost, cannot be made again, and stands again", async () => {
    const proxy = new TcpProxy(undefined, withCredentials(node.plainUrl, PASSWORD));
    const service = serviceAt(await proxy.listen());
    const lost = async (): Promise<unknown> => {
      service.route("/never", () => new Promise(() => undefined));
      await service.connect();
      const pending = service.call("careful", "/never");
      await service.call("careful", "/");
      proxy.refusing = true;
      proxy.cut();
      return pending;
    };
    expect(await failureOf(lost, PASSWORD)).toMatchObject({ code: "CONNECTION_LOST" });
    const reconnect = (): unknown => service.connect(undefined, { timeoutMs: A_FEW_ATTEMPTS_MS });
    expect(await failureOf(reconnect, PASSWORD)).toMatchObject({ code: "BROKER_UNREACHABLE" });
    proxy.refusing = false;
    await eventually(() => service.state === "running", "a new connection");
    expect(await failureOf(() => service.connect("memory:"), PASSWORD)).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await service.shutdown({ timeoutMs: 500 });
    expect(logged.map(({ level }) => level)).toEqual(expect.arrayContaining(["debug", "info", "warn"]));
    await proxy.close();
  });
});
