/** The command line where no broker is needed: what it is asked wrongly, and services on the embedded broker. */

import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { runCommand, startCommand } from "./support/command-line.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

const confluo = pathToFileURL(join(import.meta.dirname, "..", "dist", "index.js")).href;

function moduleOf(content: string, name = "service.mjs"): string {
  const folder = mkdtempSync(join(tmpdir(), "confluo-run-"));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(folder, { recursive: true });
  const file = join(folder, name);
  writeFileSync(file, `import { Service } from ${JSON.stringify(confluo)};\n${content}`);
  return file;
}

async function until(child: ReturnType<typeof startCommand>, text: string, since = ""): Promise<string> {
  let said = since;
  for await (const [chunk] of on(child, "data")) {
    said += chunk.toString();
    if (said.includes(text)) return said;
  }
  throw new Error(`It ended without ${text}: ${said}`);
}

async function* on(child: ReturnType<typeof startCommand>, event: string): AsyncGenerator<[Buffer]> {
  const exit = once(child, "exit").then(() => undefined);
  for (;;) {
    const next = await Promise.race([once(child.stderr as NodeJS.ReadableStream, event), exit]);
    if (next === undefined) return;
    yield next as [Buffer];
  }
}

describe("what is not understood", { timeout: 60_000 }, () => {
  it.each([
    [["cal"], "(Did you mean call?)"],
    [["ls", "--timeout", "soon"], "Expected a duration"],
    [["call", "orders"], "missing required argument 'path'"],
    [["run", "nowhere.ts"], "There is no file nowhere.ts"],
    [["call", "a", "/b", "--header", "x"], "Expected name=value"],
  ])("is said: %s", async (args, said) => {
    const { code, out, err } = await runCommand(args);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(said);
    expect(err).not.toContain("    at ");
  });

  it("is said of a broker that nobody named, in production by run, too", async () => {
    const file = moduleOf('export default new Service("one");');
    for (const [args, env] of [
      [["ls"], {}],
      [["run", file], { NODE_ENV: "production" }],
    ] as const) {
      const { code, out, err } = await runCommand(args, { env });
      expect([code, out]).toEqual([3, ""]);
      expect(err).toContain("CONFLUO_BROKER");
    }
  });

  it.each([
    ["not-installed", "Cannot find package 'not-installed'"],
    ["./not-there.mjs", "not-there.mjs"],
  ])("names what a module lacks, not the module: %s", async (imported, said) => {
    const file = moduleOf(`import "${imported}";`);
    const { code, err } = await runCommand(["run", file]);
    expect(code).toBe(2);
    expect(err).toContain(`${file} cannot be loaded: `);
    expect(err).toContain(said);
  });

  it("is no failure to ask for help or the version", async () => {
    const help = await runCommand(["--help"]);
    expect(help).toMatchObject({ code: 0, err: "" });
    for (const command of ["run", "ls", "show", "tail", "dead", "call", "send", "publish"])
      expect(help.out).toContain(command);
    expect((await runCommand(["--version"])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

// Installed by CI's own way to a broker, or by whoever runs the tests; without RabbitMQ and Docker it says what to do.
describe("broker", { timeout: 90_000 }, () => {
  it("runs a command with a RabbitMQ of its own, which is gone afterwards, or says what is missing", async () => {
    const program = "console.log(process.env.CONFLUO_BROKER); process.exit(7)";
    const { code, out, err } = await runCommand(["broker", "--", process.execPath, "-e", program]);
    if (err.includes("There is no RabbitMQ to start")) {
      expect(code).toBe(1);
      return;
    }
    expect(code).toBe(7);
    const url = new URL(out.trim());
    await expect(canConnect(Number(url.port))).resolves.toBe(false);
  });

  it("stays until it is told to end", async () => {
    const child = startCommand(["broker", "--json"]);
    cleanUp.push(() => child.kill("SIGKILL"));
    const exit = once(child, "exit") as Promise<[number | null]>;
    const said = await Promise.race([once(child.stdout as NodeJS.ReadableStream, "data"), exit]);
    if (typeof said[0] === "number") {
      expect(said[0]).toBe(1);
      return;
    }
    const { url } = JSON.parse(String(said[0])) as { url: string };
    const port = Number(new URL(url).port);
    expect(await canConnect(port)).toBe(true);
    child.kill("SIGTERM");
    expect((await exit)[0]).toBe(0);
    expect(await canConnect(port)).toBe(false);
  });
});

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

describe("run", { timeout: 60_000 }, () => {
  it("ends, though a module holds a timer, and whatever a terminal and a parent send together", async () => {
    const file = moduleOf(`
      setInterval(() => undefined, 1_000);
      export const slow = new Service("slow").route("/", async () => {
        console.error("begun");
        await new Promise((resolve) => setTimeout(resolve, 700));
        console.error("finished");
      });
      setTimeout(() => slow.call("slow", "/").catch(() => undefined), 300);
    `);
    const child = startCommand(["run", file]);
    cleanUp.push(() => child.kill("SIGKILL"));
    const exit = once(child, "exit");
    const said = await until(child, "begun");
    child.kill("SIGINT");
    child.kill("SIGTERM");
    expect(await until(child, "finished", said)).toContain("finished");
    expect(await exit).toEqual([0, null]);
  });

  it("ends with 2 when a module throws, whatever that has left open", async () => {
    const file = moduleOf('setInterval(() => undefined, 1_000); throw new Error("no such database");');
    const { code, err } = await runCommand(["run", file]);
    expect(code).toBe(2);
    expect(err).toContain("no such database");
  });

  it("runs what a module exports until SIGTERM, and lets it finish", async () => {
    const file = moduleOf(`
      export const orders = new Service("orders").route("/", () => 1);
      export default () => [new Service("mail").subscribe("/e", () => undefined)];
      process.on("exit", () => console.log("orders is", orders.state));
    `);
    const child = startCommand(["run", file, "--http", "127.0.0.1:0"]);
    cleanUp.push(() => child.kill("SIGKILL"));
    let out = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    const said = await until(child, "running on");
    expect(JSON.parse(said)).toMatchObject({
      level: "info",
      msg: expect.stringMatching(/^orders, mail: running on memory:, http:\/\/127\.0\.0\.1:\d+\.$/),
      services: ["orders", "mail"],
    });
    const [url = ""] = /http:\S+\d/.exec(said) ?? [];
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    expect(out).toBe("orders is stopped\n");
  });

  it("says what is wrong with a module", async () => {
    const empty = await runCommand(["run", moduleOf("export const none = 1;")]);
    expect(empty.code).toBe(2);
    expect(empty.err).toContain("exports no service");
    const choosy = await runCommand([
      "run",
      moduleOf("export const make = (broker) => new Service('a', { broker });"),
    ]);
    expect(choosy.err).toContain(
      "Its function make has parameters: to call one without arguments, choose it with --export.",
    );
    const broken = await runCommand(["run", moduleOf("throw new Error('not like this');")]);
    expect(broken.err).toContain("not like this");
    const many = await runCommand(["run", moduleOf("export default new Service('a');"), "--instances", "2"]);
    expect(many.err).toContain("cannot share the embedded broker");
  });

  it("starts again when a file changes", async () => {
    const file = moduleOf(`export const first = new Service("first").route("/", () => 1);`);
    const child = startCommand(["run", file, "--watch"]);
    cleanUp.push(() => child.kill("SIGKILL"));
    await until(child, "first: running");
    writeFileSync(
      file,
      `import { Service } from ${JSON.stringify(confluo)};\nexport const second = new Service("second");`,
    );
    expect(await until(child, "second: running")).toContain("A file changed; restarting.");
    const ended = once(child, "exit");
    child.kill("SIGINT");
    expect((await ended)[0]).toBe(0);
  });
});
