/** `confluo run` on the embedded broker, or none: what it loads, when it starts again, what it waits for, what it shows. */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "../src/testing/index.ts";
import { runCommand, startCommand } from "./support/command-line.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

const confluo = pathToFileURL(join(import.meta.dirname, "..", "dist", "index.js")).href;
const importing = `import { Broker, Service } from ${JSON.stringify(confluo)};\n`;

function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "confluo-run-"));
  cleanUp.push(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

function moduleOf(content: string): string {
  return join(folderOf({ "service.mjs": importing + content }), "service.mjs");
}

/** A command that runs, and what it has logged so far. */
function running(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): {
  readonly child: ReturnType<typeof startCommand>;
  readonly said: () => string;
  says(text: string, times?: number): Promise<void>;
  end(signal?: NodeJS.Signals): Promise<number | null>;
} {
  const child = startCommand(["run", ...args], { CONFLUO_LOG: "text", ...env });
  const exit = once(child, "exit");
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  cleanUp.push(() => child.kill("SIGKILL"));
  return {
    child,
    said: () => said,
    says: (text, times = 1) =>
      eventually(() => said.split(text).length > times, `${times} times ${text}`, {
        timeoutMs: 30_000,
      }).catch((error: unknown) => {
        throw new Error(`${said}\n${String(error)}`);
      }),
    end: async (signal = "SIGTERM") => {
      child.kill(signal);
      return (await exit)[0] as number | null;
    },
  };
}

// Processes take seconds to start on a machine that is busy.
const patience = { timeout: 90_000 };

describe("the services of a module", patience, () => {
  it.each([
    ["a function of any name", "export const createOrders = () => new Service('orders');"],
    ["one that makes a list, later", "export async function make() { return [new Service('orders')]; }"],
    [
      "a service, though functions are exported, too",
      "export const orders = new Service('orders'); export function help() { throw new Error('called'); }",
    ],
    [
      "a function without parameters, beside one that has some",
      "export const make = () => new Service('orders'); export const valid = (order) => { throw new Error(order); }",
    ],
  ])("are those of %s", async (_, content) => {
    const { says, end } = running([moduleOf(content)]);
    await says("orders: running on memory:");
    expect(await end()).toBe(0);
  });

  it("are those that are named, where several functions make some", async () => {
    const file = moduleOf(`
      export const createOrders = () => new Service("orders");
      export const createMail = () => new Service("mail");
      export const createStock = () => new Service("stock");
    `);
    const { code, err } = await runCommand(["run", file]);
    expect(code).toBe(2);
    expect(err).toContain("--export createMail --export createOrders --export createStock");
    const { says, end } = running([file, "--export", "createOrders", "--export", "createMail"]);
    await says("orders, mail: running");
    expect(await end()).toBe(0);
    expect((await runCommand(["run", file, "--export", "createOthers"])).err).toContain(
      "No module exports the name createOthers",
    );
  });

  it.each([
    ["makes no service", "export const make = () => 5;", "the function make makes no service"],
    ["fails", "export const make = () => { throw new Error('no such host'); };", "no such host"],
  ])("are missed if the function %s", async (_, content, said) => {
    const { code, err } = await runCommand(["run", moduleOf(content)]);
    expect(code).toBe(2);
    expect(err).toContain(said);
  });

  it("have a mistake that is told with file and line, in what they import, too, and nothing is run", async () => {
    const folder = folderOf({
      "service.mjs": 'import "./lib/broken.mjs";\nconsole.log("was run");\n',
      "lib/broken.mjs": "const first = 1;\n\nconst second = ;\n",
      "lib/sound.mjs": "export const a = 1;\n",
      "other.mjs": 'import { b } from "./lib/sound.mjs";\n',
    });
    const env = { CONFLUO_LOG: "text" };
    const broken = await runCommand(["run", join(folder, "service.mjs")], { env });
    expect([broken.code, broken.out]).toEqual([2, ""]);
    expect(broken.err).toMatch(
      /lib\/broken\.mjs:3\nconst second = ;\n {15}\^\n\nSyntaxError: Unexpected token ';'\n$/,
    );
    const lacking = await runCommand(["run", join(folder, "other.mjs")], { env });
    expect(lacking.err).toMatch(/other\.mjs:1\n[\s\S]*SyntaxError: .* named 'b'\n$/);
  });
});

describe("a broker", patience, () => {
  // Takes connections, and ends them without a word.
  async function mute(): Promise<{ readonly url: string; readonly connections: () => number }> {
    let connections = 0;
    const server = createServer((socket) => {
      connections += 1;
      socket.on("error", () => undefined);
      socket.destroy();
    });
    cleanUp.push(() => server.close());
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as AddressInfo;
    return { url: `amqp://shop:s3cret@127.0.0.1:${port}`, connections: () => connections };
  }

  it("of a service's own is where that service goes, if --broker names none", async () => {
    const own = await mute();
    const other = await mute();
    const file = moduleOf(`
      export const mail = new Service("mail", { broker: ${JSON.stringify(own.url)} });
    `);
    const { says, end } = running([file], { CONFLUO_BROKER: other.url });
    await says("Trying again");
    expect(own.connections()).toBeGreaterThan(0);
    expect(other.connections()).toBe(0);
    expect(await end()).toBe(0);
    const forAll = running([file, "--broker", other.url]);
    await forAll.says("Trying again");
    expect(other.connections()).toBeGreaterThan(0);
    expect(await forAll.end()).toBe(0);
  });

  it("that is away is waited for, unless told otherwise", async () => {
    const file = moduleOf("export default new Service('orders');");
    const away = "amqp://127.0.0.1:1";
    const { said, says, end } = running([file, "--broker", away]);
    await says("Trying again");
    expect(said()).not.toContain("orders: running");
    expect(await end()).toBe(0);
    const limited = await runCommand(["run", file, "--broker", away, "--connect-timeout", "3s"]);
    expect(limited.code).toBe(3);
    expect(limited.err).toContain("Gave up after 3000 ms");
  });

  it.skipIf(process.platform !== "linux")("has a password that no process shows", async () => {
    const url = "amqp://shop:s3cret@127.0.0.1:1";
    const file = moduleOf("export default new Service('orders');");
    const { child, says, end } = running([file, "--broker", url, "--instances", "2"]);
    await says("Trying again", 2);
    const shown = execFileSync("ps", ["-eo", "pid,ppid,args"], { encoding: "utf8" }).split("\n");
    const ours = shown.filter((line) => line.split(/\s+/).includes(String(child.pid)));
    expect(ours.length).toBeGreaterThanOrEqual(3);
    expect(ours.join("\n")).not.toContain("s3cret");
    expect(ours.join("\n")).toContain("service.mjs");
    expect(await end()).toBe(0);
  });

  it("has files of TLS that must be there, and an address that they are for", async () => {
    const file = moduleOf("export default new Service('orders');");
    const missing = await runCommand([
      "run",
      file,
      "--broker",
      "amqps://127.0.0.1:1",
      "--ca",
      "/no/such.pem",
    ]);
    expect([missing.code, missing.err]).toEqual([2, expect.stringContaining("/no/such.pem")]);
    const plain = await runCommand(["ls", "--broker", "amqp://127.0.0.1:1", "--ca", "package.json"]);
    expect([plain.code, plain.err]).toEqual([2, expect.stringContaining("need an amqps:// address")]);
  });
});

describe("the end", patience, () => {
  it("waits for what runs as long as --drain says", async () => {
    const file = moduleOf(`
      export const slow = new Service("slow").route("/", () => {
        console.error("begun");
        return new Promise(() => setInterval(() => undefined, 1_000));
      });
      setTimeout(() => slow.call("slow", "/").catch(() => undefined), 300);
    `);
    const { said, says, end } = running([file, "--drain", "200ms"]);
    await says("begun");
    const began = performance.now();
    expect(await end()).toBe(0);
    expect(performance.now() - began).toBeLessThan(4_000);
    expect(said()).toContain("stopped waiting for what still runs");
  });

  it("of service.run() is that of the process, once what else holds it is closed", async () => {
    const file = moduleOf(`
      const pool = setInterval(() => undefined, 1_000);
      const running = new Service("orders").run("memory:");
      setTimeout(() => console.log("up"), 50);
      await running;
      console.log(process.getActiveResourcesInfo().join());
      clearInterval(pool);
    `);
    const child = spawn(process.execPath, [file], { stdio: "pipe" });
    cleanUp.push(() => child.kill("SIGKILL"));
    const exit = once(child, "exit");
    let out = "";
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    await eventually(() => out.includes("up"), "the service", { timeoutMs: 30_000 });
    child.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
    expect(out).toMatch(/Timeout/);
  });

  const canUnshare = ((): boolean => {
    try {
      execFileSync("unshare", ["--pid", "--fork", "--mount-proc", "true"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  })();

  it.skipIf(!canUnshare)("finishes what runs as the first process of a container", async () => {
    const file = moduleOf(`
      export const slow = new Service("slow").route("/", async () => {
        console.error("begun as " + process.pid);
        await new Promise((resolve) => setTimeout(resolve, 700));
        console.error("finished");
      });
      setTimeout(() => slow.call("slow", "/").catch(() => undefined), 300);
    `);
    const bin = join(import.meta.dirname, "..", "dist", "cli", "main.js");
    const own = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    const child = spawn("unshare", [...own, process.execPath, bin, "run", file], { stdio: "pipe" });
    cleanUp.push(() => child.kill("SIGKILL"));
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    const exit = once(child, "exit");
    await eventually(() => said.includes("begun as 1\n"), "the handler", { timeoutMs: 30_000 });
    const first = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim();
    process.kill(Number(first), "SIGTERM");
    expect(await exit).toEqual([0, null]);
    expect(said).toContain("finished");
  });
});

describe("--watch", patience, () => {
  const orders = `${importing}import { n } from "./parts/n.mjs";\nexport default new Service("orders-" + n);\n`;
  const numbered = (n: number): string => `export const n = ${n};\n`;

  it("sees each save, also of an editor that writes another file and renames it", async () => {
    const folder = folderOf({ "service.mjs": orders, "parts/n.mjs": numbered(0) });
    const { says, end } = running([join(folder, "service.mjs"), "--watch"]);
    await says("orders-0: running");
    for (const n of [1, 2, 3]) {
      const saved = join(folder, "parts", "n.mjs");
      writeFileSync(`${saved}~`, numbered(n));
      renameSync(`${saved}~`, saved);
      await says(`orders-${n}: running`);
    }
    writeFileSync(join(folder, "parts", "n.mjs"), numbered(4));
    await says("orders-4: running");
    expect(await end("SIGINT")).toBe(0);
  });

  it("sees TypeScript, and folders that are made or replaced meanwhile, not what is no code", async () => {
    const folder = folderOf({ "service.mjs": orders, "parts/n.mjs": numbered(0) });
    const { said, says, end } = running([join(folder, "service.mjs"), "--watch"]);
    await says("orders-0: running");
    const restarts = (): number => said().split("A file changed; restarting.").length - 1;
    mkdirSync(join(folder, "node_modules"));
    writeFileSync(join(folder, "node_modules", "x.js"), "");
    writeFileSync(join(folder, "service.log"), "");
    writeFileSync(join(folder, "types.ts"), "export {};\n");
    await says("orders-0: running", 2);
    expect(restarts()).toBe(1);
    renameSync(join(folder, "parts"), join(folder, "before"));
    mkdirSync(join(folder, "parts"));
    writeFileSync(join(folder, "parts", "n.mjs"), numbered(5));
    await says("orders-5: running");
    writeFileSync(join(folder, "parts", "n.mjs"), numbered(6));
    await says("orders-6: running");
    expect(await end("SIGINT")).toBe(0);
  });
});
