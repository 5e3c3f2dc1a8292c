import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { findNodeStarter, startOwnNode, startTestBroker, startTestBroker4 } from "../scripts/test-broker.mjs";
import { eventually } from "../src/testing/index.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "confluo-test-broker-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("startTestBroker", () => {
  test("uses the broker that CONFLUO_TEST_BROKER names and leaves it running", async () => {
    await using greeter = await startGreeter();
    const url = `amqp://user:secret@127.0.0.1:${greeter.port}/tests`;
    const broker = await startTestBroker({ env: { CONFLUO_TEST_BROKER: url } });
    expect(broker).toMatchObject({ kind: "given", url, version: "9.8.7" });
    expect(broker.description).toBe(
      `RabbitMQ 9.8.7, given by CONFLUO_TEST_BROKER, amqp://127.0.0.1:${greeter.port}/tests`,
    );
    await broker.stop();
    expect(await answers(greeter.port)).toBe(true);
  });

  test("takes a list of URLs as it is, if one of them answers", async () => {
    await using greeter = await startGreeter();
    const urls = `amqp://127.0.0.1:1, amqp://127.0.0.1:${greeter.port}`;
    const broker = await startTestBroker({ env: { CONFLUO_TEST_BROKER: urls } });
    expect(broker).toMatchObject({ url: urls, version: "9.8.7" });
  });

  test("refuses a CONFLUO_TEST_BROKER that is no AMQP URL", async () => {
    const started = startTestBroker({ env: { CONFLUO_TEST_BROKER: "localhost:5672" } });
    await expect(started).rejects.toThrow('holds "localhost:5672": expected an amqp:// or amqps:// URL');
  });

  test("prefers an installed RabbitMQ to Docker, and shows the log of a node that does not start", async () => {
    addProgram("rabbitmq-env", "");
    addProgram(
      "rabbitmq-server",
      'console.log("no luck as", process.env.RABBITMQ_NODENAME); process.exit(3);',
    );
    addProgram("docker", "");
    const started = startTestBroker({ env: { PATH: folder, RABBITMQ_NODENAME: "rabbit" }, folders: [] });
    await expect(started).rejects.toThrow(
      /ended with exit code 3\.[\s\S]*no luck as confluo-[0-9a-f]+@localhost/,
    );
  });

  test.each(["SIGKILL", "SIGTERM"] as const)(
    "restarts a private node with %s, in its folder and at its port",
    async (signal) => {
      addProgram("rabbitmq-env", "");
      addProgram("rabbitmq-server", nodeStandIn);
      const broker = await startTestBroker({ env: { PATH: folder }, folders: [] });
      try {
        expect(broker).toMatchObject({ kind: "private-node", version: "9.8.1" });
        await broker.restart?.(signal);
        expect(await greetingOf(broker.url)).toContain("9.8.2");
        await broker.restart?.(signal);
        expect(await greetingOf(broker.url)).toContain("9.8.3");
      } finally {
        await broker.stop();
      }
      expect(await answers(Number(new URL(broker.url).port))).toBe(false);
    },
  );

  test("starts a container where Docker runs and RabbitMQ is not installed, and removes that one", async () => {
    addProgram("docker", dockerStandIn("9.8.7"));
    const broker = await startTestBroker({ env: { PATH: folder, STATE: folder }, folders: [] });
    expect(broker).toMatchObject({ kind: "container", version: "9.8.7" });
    expect(broker.description).toMatch(
      /^RabbitMQ 9\.8\.7, Docker container, amqp:\/\/127\.0\.0\.1:\d+, started in/,
    );
    const port = Number(new URL(broker.url).port);
    await broker.stop();
    expect(await answers(port)).toBe(false);
    const name = readFileSync(join(folder, "name"), "utf8");
    expect(readFileSync(join(folder, "removed"), "utf8")).toBe(name);
    expect(name).toMatch(/^confluo-test-/);
  });

  test("passes over the wrapper of the system's node and says what to do when there is no way left", async () => {
    addProgram("rabbitmq-server", "process.exit(1);");
    const started = startTestBroker({ env: { PATH: folder }, folders: [] });
    await expect(started).rejects.toThrow(/No RabbitMQ broker to test against/);
    await expect(started).rejects.toThrow(/CONFLUO_TEST_BROKER=amqp:/);
    await expect(started).rejects.toThrow(/sudo apt-get install rabbitmq-server/);
    await expect(started).rejects.toThrow(/start Docker: .*there is no docker command/);
  });

  test("leaves nothing behind when the process that wanted the broker is killed", async ({ skip }) => {
    skip(process.env.CONFLUO_TEST_BROKER !== undefined, "told to use a broker, not to start one");
    const module = JSON.stringify(new URL("../scripts/test-broker.mjs", import.meta.url).href);
    const program = `
      import { startTestBroker } from ${module};
      const { url, kind } = await startTestBroker({ log: () => {} });
      console.log(JSON.stringify({ url, kind }));
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      env: { ...process.env, TMPDIR: folder },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(createInterface(child.stdout), "line");
    const port = Number(new URL(JSON.parse(line).url).port);
    expect(await answers(port)).toBe(true);
    child.kill("SIGKILL");
    await vi.waitFor(async () => expect(await answers(port)).toBe(false), { timeout: 15_000, interval: 50 });
    await vi.waitFor(() => expect(readdirSync(folder)).toEqual([]), { timeout: 15_000, interval: 50 });
  }, 90_000);
});

describe("startOwnNode", () => {
  test("starts a node with settings, which can be stopped, let go on and controlled", async () => {
    addProgram("rabbitmq-env", "");
    addProgram("rabbitmq-server", nodeStandIn);
    addProgram(
      "rabbitmqctl",
      `const { readFileSync } = require("node:fs");
       const { RABBITMQ_NODENAME, RABBITMQ_ADVANCED_CONFIG_FILE } = process.env;
       console.log(RABBITMQ_NODENAME, process.argv[2], readFileSync(RABBITMQ_ADVANCED_CONFIG_FILE, "utf8"));`,
    );
    const settings = { consumer_timeout: 1_500, quorum_tick_interval: 500 };
    const node = await startOwnNode({ version: "3.13.7", settings, env: { PATH: folder }, folders: [] });
    try {
      expect(await node.control?.(["status"])).toMatch(
        /^confluo-\S+@localhost status \[\{rabbit, \[\{consumer_timeout, 1500\}, \{quorum_tick_interval, 500\}\]\}\]\.\n/,
      );
      node.pause?.("SIGSTOP");
      // Another process sends the signal, in its own time.
      let greeting: Promise<string> | undefined;
      await eventually(async () => {
        greeting = greetingOf(node.url);
        const silence = new Promise((resolve) => setTimeout(resolve, 200, "silence"));
        return (await Promise.race([greeting, silence])) === "silence";
      }, "the node to say nothing");
      node.pause?.("SIGCONT");
      expect(await greeting).toContain("9.8.1");
    } finally {
      await node.stop();
    }
  });

  test("says why there is none", async () => {
    const started = startOwnNode({ version: "3.13.7", env: { PATH: folder }, folders: [] });
    await expect(started).rejects.toThrow("no RabbitMQ is installed");
  });
});

describe("startTestBroker4", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test("uses the broker that CONFLUO_TEST_BROKER4 names", async () => {
    await using greeter = await startGreeter("4.3.2");
    const url = `amqp://127.0.0.1:${greeter.port}`;
    const env = { CONFLUO_TEST_BROKER4: url, CONFLUO_TEST_BROKER: "amqp://127.0.0.1:1" };
    const broker = await startTestBroker4({ env });
    expect(broker).toMatchObject({ kind: "given", url, version: "4.3.2" });
    expect(broker.description).toContain("given by CONFLUO_TEST_BROKER4");
  });

  test("refuses a CONFLUO_TEST_BROKER4 that is no RabbitMQ 4", async () => {
    await using greeter = await startGreeter("3.13.7");
    const env = { CONFLUO_TEST_BROKER4: `amqp://127.0.0.1:${greeter.port}` };
    await expect(startTestBroker4({ env })).rejects.toThrow(
      /RabbitMQ 4 is wanted, and this is another: RabbitMQ 3\.13\.7, given by CONFLUO_TEST_BROKER4/,
    );
  });

  test("prefers an installed RabbitMQ 4 to Docker", async () => {
    addRabbitMQ("4.1.0");
    addProgram("docker", dockerStandIn("4.3.2"));
    const started = startTestBroker4({ env: { PATH: folder, STATE: folder, RABBITMQ_HOME: folder } });
    await expect(started).rejects.toThrow(/ended with exit code 3\./);
  });

  test("passes over an installed RabbitMQ 3 and starts a container", async () => {
    addRabbitMQ("3.13.7");
    addProgram("docker", dockerStandIn("4.3.2"));
    const env = { PATH: folder, STATE: folder, RABBITMQ_HOME: folder };
    const broker = await startTestBroker4({ env });
    expect(broker).toMatchObject({ kind: "container", version: "4.3.2" });
    await broker.stop();
  });

  test("removes a container that holds another version", async () => {
    addProgram("docker", dockerStandIn("3.13.7"));
    const started = startTestBroker4({ env: { PATH: folder, STATE: folder }, folders: [] });
    await expect(started).rejects.toThrow(/this is another: RabbitMQ 3\.13\.7, Docker container/);
    const name = readFileSync(join(folder, "name"), "utf8");
    expect(readFileSync(join(folder, "removed"), "utf8")).toBe(name);
  });

  test("unpacks Debian's package for root where there is no Docker, and leaves nothing half made", async () => {
    vi.spyOn(process, "getuid").mockReturnValue(0);
    addRabbitMQ("3.13.7");
    addProgram("apt-get", 'console.log("no luck with", process.argv.at(-1)); process.exit(100);');
    const log = vi.fn();
    const env = { PATH: folder, RABBITMQ_HOME: folder, XDG_CACHE_HOME: folder };
    const started = startTestBroker4({ env, log });
    await expect(started).rejects.toThrow(/apt-get failed with exit code 100:\nno luck with debian-archive/);
    expect(log).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("Unpacking RabbitMQ 4 from Debian"));
    expect(readdirSync(join(folder, "confluo-rabbitmq4"))).toEqual([]);
  });

  test("unpacks once: what is there already is started as it is", async () => {
    vi.spyOn(process, "getuid").mockReturnValue(0);
    addProgram("apt-get", "process.exit(100);");
    const root = join(folder, "confluo-rabbitmq4", "trixie");
    mkdirSync(join(root, "tmp"), { recursive: true });
    const log = vi.fn();
    const env = { PATH: folder, XDG_CACHE_HOME: folder };
    const started = startTestBroker4({ env, folders: [], log });
    // It is an empty folder: the node's end shows that it was tried.
    await expect(started).rejects.toThrow(/\(\/usr\/lib\/rabbitmq\/bin\/rabbitmq-server\) ended with/);
    expect(log).not.toHaveBeenCalled();
    expect(readdirSync(join(root, "tmp"))).toEqual([]);
  });

  test("says what to do when there is no way left", async () => {
    vi.spyOn(process, "getuid").mockReturnValue(1000);
    addRabbitMQ("3.13.7");
    const started = startTestBroker4({ env: { PATH: folder, RABBITMQ_HOME: folder } });
    await expect(started).rejects.toThrow(/No RabbitMQ 4 to test against/);
    await expect(started).rejects.toThrow(/CONFLUO_TEST_BROKER4=amqp:/);
    await expect(started).rejects.toThrow(/installed now: 3\.13\.7/);
    await expect(started).rejects.toThrow(/start Docker: .*there is no docker command/);
    await expect(started).rejects.toThrow(/be root on Debian or Ubuntu/);
  });
});

/** An installed RabbitMQ, in `folder` as its home, that does not start. */
describe("findNodeStarter", () => {
  test("finds an installed RabbitMQ of the major version under test", async () => {
    addRabbitMQ("4.0.5");
    await using greeter = await startGreeter("4.1.0");
    const url = `amqp://127.0.0.1:${greeter.port}`;
    expect(await findNodeStarter(url, { env: { PATH: join(folder, "sbin") }, folders: [] })).toBeTypeOf(
      "function",
    );
  });

  test("says why none can be started", async () => {
    await using greeter = await startGreeter("3.13.7");
    const url = `amqp://127.0.0.1:${greeter.port}`;
    const env = { PATH: join(folder, "sbin") };
    expect(await findNodeStarter(url, { env, folders: [] })).toMatch(
      /RabbitMQ 3\.13\.7 .* installed: none is$/,
    );
    addRabbitMQ("4.0.5");
    expect(await findNodeStarter(url, { env, folders: [] })).toMatch(/installed: only 4\.0\.5 is$/);
  });
});

function addRabbitMQ(version: string): void {
  mkdirSync(join(folder, "plugins", `rabbit-${version}`), { recursive: true });
  addProgram("sbin/rabbitmq-env", "");
  addProgram("sbin/rabbitmq-server", "process.exit(3);");
}

/** A program in `folder`, written in JavaScript. */
function addProgram(name: string, code: string): void {
  const file = join(folder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!${process.execPath}\n${code}\n`, { mode: 0o755 });
}

/** `connection.start` as RabbitMQ begins it: class 10, method 10, version 0-9, then the server's properties. */
function encodeStart(version: string): Buffer {
  const text = (value: string) => Buffer.concat([uint32(value.length), Buffer.from(value)]);
  const entry = (name: string, value: string) =>
    Buffer.concat([Buffer.from([name.length]), Buffer.from(`${name}S`), text(value)]);
  const table = Buffer.concat([entry("product", "RabbitMQ"), entry("version", version)]);
  const payload = Buffer.concat([
    Buffer.from([0, 10, 0, 10, 0, 9]),
    uint32(table.length),
    table,
    text("PLAIN"),
    text("en_US"),
  ]);
  return Buffer.concat([Buffer.from([1, 0, 0]), uint32(payload.length), payload, Buffer.from([0xce])]);
}

function uint32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}

/** Answers as a broker does until the client would have to log in. */
async function startGreeter(version = "9.8.7"): Promise<AsyncDisposable & { readonly port: number }> {
  const server: Server = createServer((socket) => {
    socket.once("data", () => socket.end(encodeStart(version)));
    socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return {
    port: address.port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      resolve(true);
      socket.destroy();
    });
    socket.once("error", () => resolve(false));
  });
}

function greetingOf(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1", () => socket.write("AMQP"));
    socket.once("data", (bytes) => resolve(bytes.toString("latin1")));
    socket.once("data", () => socket.destroy());
    socket.once("error", reject);
  });
}

/** A node whose version tells how often it was started in its folder. */
const nodeStandIn = `
  const { existsSync, readFileSync, writeFileSync } = require("node:fs");
  const { createServer } = require("node:net");
  const starts = existsSync("starts") ? Number(readFileSync("starts", "utf8")) + 1 : 1;
  writeFileSync("starts", String(starts));
  const greeting = Buffer.from("${encodeStart("9.8.7").toString("hex")}", "hex");
  greeting.write("9.8." + starts, greeting.indexOf("9.8.7"));
  const port = Number(/127\\.0\\.0\\.1:(\\d+)/.exec(readFileSync("rabbitmq.conf", "utf8"))[1]);
  createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(greeting));
  }).listen(port, "127.0.0.1");
`;

/** As much of the docker command as the starter uses. */
const dockerStandIn = (version: string) => `
  const { readFileSync, writeFileSync } = require("node:fs");
  const { createServer } = require("node:net");
  const [command, ...args] = process.argv.slice(2);
  const file = (name) => process.env.STATE + "/" + name;
  if (command === "run") {
    writeFileSync(file("name"), args[args.indexOf("--name") + 1]);
    const greeting = Buffer.from("${encodeStart(version).toString("hex")}", "hex");
    const server = createServer((socket) => socket.once("data", () => socket.end(greeting)));
    server.listen(0, "127.0.0.1", () => writeFileSync(file("port"), String(server.address().port)));
  } else if (command === "port") {
    console.log("127.0.0.1:" + readFileSync(file("port"), "utf8"));
  } else if (command === "rm") {
    writeFileSync(file("removed"), args.at(-1));
  }
`;
