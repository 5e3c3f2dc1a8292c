import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { silentLogger } from "../logging/logger.ts";
import { Broker } from "./broker.ts";
import { resolveBroker, sharedEmbeddedBroker } from "./default-broker.ts";
import { withEnvironment } from "./environment.ts";

beforeEach(() => {
  vi.stubEnv("CONFLUO_BROKER", undefined);
  vi.stubEnv("NODE_ENV", undefined);
  vi.stubEnv("CONFLUO_NAMESPACE", undefined);
});
afterEach(() => void vi.unstubAllEnvs());

describe("the broker of an address", () => {
  it("is the given one, else that of CONFLUO_BROKER, else the embedded one", () => {
    const own = new Broker("memory:");
    expect(resolveBroker(own, silentLogger)).toBe(own);
    expect(resolveBroker("amqp://user:secret@host:1234/v", silentLogger).description).toBe(
      "amqp://host:1234/v",
    );
    expect(resolveBroker(undefined, silentLogger)).toBe(sharedEmbeddedBroker());
    vi.stubEnv("CONFLUO_BROKER", "amqp://one, amqps://two:5");
    expect(resolveBroker(undefined, silentLogger).description).toBe("amqp://one:5672, amqps://two:5");
    expect(resolveBroker("memory:", silentLogger)).toBe(sharedEmbeddedBroker());
  });

  it("is refused in production when nothing names one, and given when the embedded one is meant", () => {
    vi.stubEnv("NODE_ENV", "production");
    expect(() => resolveBroker(undefined, silentLogger)).toThrow(
      expect.objectContaining({ code: "NO_BROKER_ADDRESS" }),
    );
    expect(resolveBroker("memory:", silentLogger)).toBe(sharedEmbeddedBroker());
  });

  it("says once that services meet inside the process", () => {
    delete (globalThis as Record<symbol, unknown>)[Symbol.for("confluo.embedded.announced")];
    const info = vi.fn();
    resolveBroker(undefined, { ...silentLogger, info });
    resolveBroker(undefined, { ...silentLogger, info });
    expect(info).toHaveBeenCalledTimes(1);
  });

  it("is refused when it is no URL, without repeating a password", () => {
    for (const address of ["nonsense", "http://x", "amqp://", [], [""], 7, ["memory:", "amqp://x"]]) {
      expect(() => new Broker(address as string)).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
    }
    const attempt = (): Broker => new Broker("amqp://user:p@ss:w#rd@host");
    expect(attempt).toThrow(/percent-encoded/);
    expect(attempt).not.toThrow(/p@ss/);
    for (const parameter of ["heartbeat=abc", "heartbeat=-1", "frameMax=1", "channelMax=abc"]) {
      expect(() => new Broker(`amqp://host?${parameter}`)).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
    }
    expect(new Broker("amqp://host?heartbeat=5&frameMax=8192").description).toBe("amqp://host:5672");
    for (const secret of ["12/s3cret", "1?s3cret", "1#s3cret"]) {
      expect(() => new Broker(`amqp://user:${secret}@host`)).toThrow(/%2F/);
      expect(() => new Broker(`amqp://user:${secret}@host`)).not.toThrow(/s3cret/);
    }
    expect(() => new Broker("amqp://u:s3cret@a,amqp://u:s3cret@b")).toThrow(/as a list/);
    vi.stubEnv("CONFLUO_BROKER", "amqp://user:s3cret@a,");
    expect(() => resolveBroker(undefined, silentLogger)).not.toThrow(/s3cret/);
    expect(() => resolveBroker(undefined, silentLogger)).toThrow(/CONFLUO_BROKER/);
  });

  it.each([
    [
      "frame_max=8192",
      /no parameter "frame_max", only heartbeat, frameMax, channelMax\. Did you mean frameMax\?/,
    ],
    ["heartbeats=5", /Did you mean heartbeat\?/],
    ["hartbeet=5", /Did you mean heartbeat\?/],
    ["HEARTBEAT=5", /Did you mean heartbeat\?/],
    ["channel-max=20", /Did you mean channelMax\?/],
    ["cacertfile=/ca.pem", /Use the option tls of Broker instead\./],
    ["connection_timeout=5", /Use the option timeoutMs of connect instead\./],
    ["frameMax=8192&locale=de", /no parameter "locale", only heartbeat, frameMax, channelMax\.$/],
    ["heartbeat=5&heartbeat=6", /has the parameter heartbeat twice/],
    ["heartbeat=5#x", /write it as %23/],
  ])("refuses what it does not know of an address: %s", (parameters, message) => {
    const attempt = (): Broker => new Broker(["amqp://host", `amqp://host/vhost?${parameters}`]);
    expect(attempt).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(attempt).toThrow(message);
  });

  it("refuses parameters of the embedded broker", () => {
    expect(() => new Broker("memory://?heartbeat=5")).toThrow(/takes no parameters/);
    expect(new Broker("memory://").description).toBe("memory:");
  });

  it("checks its options", () => {
    for (const options of [
      { namespace: "a.b" },
      { namespace: "" },
      { maxBodyBytes: 0 },
      { maxBodyBytes: 1.5 },
    ]) {
      expect(() => new Broker("memory:", options)).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
    }
  });

  it("has the namespace that it is given, else that of CONFLUO_NAMESPACE", () => {
    expect(new Broker("memory:").namespace).toBe("confluo");
    vi.stubEnv("CONFLUO_NAMESPACE", " staging ");
    expect(new Broker("memory:").namespace).toBe("staging");
    expect(new Broker("memory:", { namespace: "shop" }).namespace).toBe("shop");
    expect(resolveBroker("amqp://host", silentLogger).namespace).toBe("staging");
    vi.stubEnv("CONFLUO_BROKER", "amqp://other");
    expect(resolveBroker(undefined, silentLogger).namespace).toBe("staging");
    vi.stubEnv("CONFLUO_NAMESPACE", "a.b");
    expect(() => new Broker("memory:")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    vi.stubEnv("CONFLUO_NAMESPACE", "");
    expect(new Broker("memory:").namespace).toBe("confluo");
  });
});

describe("the environment's files of TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "confluo-tls-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string): string => {
    writeFileSync(join(folder, name), name);
    return join(folder, name);
  };

  it("are for amqps:// alone, and for whom no options of TLS are given", () => {
    vi.stubEnv("CONFLUO_CA", file("ca.pem"));
    expect(withEnvironment("amqps://host", {}).tls).toEqual({ ca: Buffer.from("ca.pem") });
    expect(withEnvironment(["amqp://one", "amqps://two"], {}).tls).toEqual({ ca: Buffer.from("ca.pem") });
    expect(withEnvironment("amqp://host", {}).tls).toBeUndefined();
    expect(withEnvironment("memory:", {}).tls).toBeUndefined();
    const tls = { rejectUnauthorized: false };
    expect(withEnvironment("amqps://host", { tls }).tls).toBe(tls);
  });

  it("say by a certificate who connects, where no URL does", () => {
    vi.stubEnv("CONFLUO_CERT", file("cert.pem"));
    vi.stubEnv("CONFLUO_KEY", file("key.pem"));
    const pair = { cert: Buffer.from("cert.pem"), key: Buffer.from("key.pem") };
    expect(withEnvironment("amqps://host", {}).tls).toEqual({ ...pair, authentication: "certificate" });
    expect(withEnvironment("amqps://user:password@host", {}).tls).toEqual(pair);
  });

  it("are missed by their variable and name", () => {
    vi.stubEnv("CONFLUO_CA", join(folder, "none.pem"));
    expect(() => new Broker("amqps://host")).toThrow(/CONFLUO_CA names .*none\.pem.*ENOENT/);
    expect(() => new Broker("amqp://host")).not.toThrow();
  });
});
