import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Broker } from "../../index.ts";
import type { Terminal } from "../terminal.ts";
import { keyOf, knownServicesAt, stateFolder } from "./kept-names.ts";

function terminal(env: Terminal["env"]): Terminal {
  const stream = (): PassThrough => new PassThrough();
  return {
    stdin: stream(),
    stdout: stream(),
    stderr: stream(),
    env,
    signal: new AbortController().signal,
  };
}

describe("the folder of what is kept", () => {
  it("is that of the system, for its user", () => {
    expect(stateFolder({ XDG_STATE_HOME: "/state", HOME: "/home/me" }, "linux")).toBe(
      join("/state", "confluo"),
    );
    const inHome = join("/home/me", ".local", "state", "confluo");
    expect(stateFolder({ HOME: "/home/me" }, "linux")).toBe(inHome);
    expect(stateFolder({ HOME: "/home/me" }, "darwin")).toBe(inHome);
    expect(stateFolder({ LOCALAPPDATA: "/AppData/Local", HOME: "/home/me" }, "win32")).toBe(
      join("/AppData/Local", "confluo"),
    );
  });

  it("is never beside where a command happens to run", () => {
    expect(stateFolder({ XDG_STATE_HOME: "state", HOME: "/home/me" }, "linux")).toContain(
      join("me", ".local"),
    );
    expect(stateFolder({ XDG_STATE_HOME: "", HOME: "" }, "linux")).toBeUndefined();
    expect(stateFolder({}, "linux")).toBeUndefined();
    expect(stateFolder({}, "win32")).toBeUndefined();
  });

  it.each(["off", "OFF", " off "])("is none if CONFLUO_STATE is %j", (state) =>
    expect(stateFolder({ CONFLUO_STATE: state, XDG_STATE_HOME: "/state" }, "linux")).toBeUndefined(),
  );
});

describe("the name of a file", () => {
  const keyAt = (address: string | readonly string[], namespace = "shop"): string =>
    keyOf(new Broker(address, { namespace }));

  it("is that of the same place, whoever asks, in whichever way it is written", () => {
    const key = keyAt("amqp://rabbit");
    expect(key).toMatch(/^[\da-f]{32}$/);
    for (const address of ["amqp://RABBIT:5672/", "amqp://me:secret@rabbit/%2F", "amqp://rabbit?heartbeat=5"])
      expect(keyAt(address)).toBe(key);
    expect(keyAt(["amqp://b", "amqp://a"])).toBe(keyAt(["amqp://a", "amqp://b"]));
  });

  it("is another for another host, port, vhost or namespace", () => {
    const places = ["amqp://a", "amqp://b", "amqp://a:1", "amqp://a/b", "amqp://a/b%2Fc"].map((url) =>
      keyAt(url),
    );
    const others = [keyAt("amqp://a", "other"), keyAt(["amqp://a", "amqp://b"])];
    expect(new Set([...places, ...others]).size).toBe(7);
  });
});

describe("names that are kept", () => {
  let home: string;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "confluo-kept-"));
  });

  afterEach(() => rmSync(home, { recursive: true, force: true }));

  it("are in a file that tells of no user, password, host or vhost", () => {
    // Providers such as CloudAMQP name the vhost for the user.
    const broker = new Broker("amqps://tenant:s3cret@rabbit.example/tenant", { namespace: "shop" });
    const known = knownServicesAt(broker, terminal({ XDG_STATE_HOME: home }));
    known.learnNames(["mail"]);
    expect(known.isKept).toBe(true);
    const [path = "", ...others] = readdirSync(home, { recursive: true, encoding: "utf8" }).filter((each) =>
      each.endsWith(".json"),
    );
    expect(others).toEqual([]);
    expect(path).toMatch(/^confluo[\\/]services[\\/][\da-f]{32}\.json$/);
    expect(readFileSync(join(home, path), "utf8")).toBe('{"version":1,"services":["mail"]}\n');
  });

  it("are none of an embedded broker, nor if that is turned off", () => {
    const off = { XDG_STATE_HOME: home, CONFLUO_STATE: "off" };
    for (const [address, env] of [
      ["memory:", { XDG_STATE_HOME: home }],
      ["amqp://rabbit", off],
    ] as const) {
      const known = knownServicesAt(new Broker(address), terminal(env));
      known.learnNames(["mail"]);
      expect(known.isKept).toBe(false);
    }
    expect(readdirSync(home)).toEqual([]);
  });
});
