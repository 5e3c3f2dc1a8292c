import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startTestPostgres } from "../scripts/test-postgres.mjs";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "confluo-test-postgres-"));
  // PostgreSQL runs as another user than root.
  chmodSync(folder, 0o777);
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

it("says what to do where there is no PostgreSQL", async () => {
  const started = startTestPostgres({ env: { PATH: folder }, folders: [] });
  await expect(started).rejects.toThrow("CONFLUO_TEST_POSTGRES=postgres://");
  await expect(started).rejects.toThrow("sudo apt-get install postgresql");
  await expect(started).rejects.toThrow("there is no docker command");
});

it("refuses a CONFLUO_TEST_POSTGRES that is no URL of PostgreSQL", async () => {
  const started = startTestPostgres({ env: { CONFLUO_TEST_POSTGRES: "localhost:5432" } });
  await expect(started).rejects.toThrow('holds "localhost:5432": expected a postgres:// URL');
});

it("uses the one that CONFLUO_TEST_POSTGRES names, once it has started, and shows no password", async () => {
  const port = await listen([starting, ready]);
  const url = `postgres://ada:secret@127.0.0.1:${port}/shop`;
  const postgres = await startTestPostgres({ env: { CONFLUO_TEST_POSTGRES: url } });
  expect(postgres).toMatchObject({
    url,
    description: `PostgreSQL 17.2, given by CONFLUO_TEST_POSTGRES, postgres://127.0.0.1:${port}/shop`,
  });
  await postgres.stop();
});

it("takes a server that asks for a password, or refuses who asks, for one that is up", async () => {
  for (const answer of [password, refused]) {
    const url = `postgres://127.0.0.1:${await listen([answer])}`;
    const { description } = await startTestPostgres({ env: { CONFLUO_TEST_POSTGRES: url } });
    expect(description).toContain("PostgreSQL (unknown version), given by");
  }
});

it("prefers an installed one of the newest version, and shows the output of one that does not start", async () => {
  for (const [version, code] of [
    ["9.6", "exit 4"],
    ["15", "echo no luck with $0; exit 3"],
  ] as const) {
    addProgram(version, "initdb", "exit 0");
    addProgram(version, "postgres", code);
  }
  const started = startTestPostgres({ env: { PATH: "" }, folders: [folder] });
  await expect(started).rejects.toThrow(/ended with exit code 3\.[\s\S]*no luck with .*\/15\/bin\/postgres/);
});

it("ends a private server in order and leaves nothing behind", async () => {
  const place = join(folder, "place");
  addProgram("15", "initdb", `pwd > ${place}`);
  addProgram("15", "postgres", `exec ${process.execPath} ${join(folder, "server.mjs")} "$@"`);
  writeFileSync(join(folder, "server.mjs"), standIn);
  const postgres = await startTestPostgres({ env: { PATH: "" }, folders: [folder] });
  expect(postgres.description).toMatch(
    /^PostgreSQL 17\.2, private server, postgres:.*, started in [\d.]+ s$/,
  );
  const own = readFileSync(place, "utf8").trim();
  expect(existsSync(own)).toBe(true);
  await postgres.stop();
  await postgres.stop();
  expect(existsSync(own)).toBe(false);
  expect(readFileSync(join(folder, "ended"), "utf8")).toBe("SIGINT");
});

function addProgram(version: string, name: string, code: string): void {
  const bin = join(folder, version, "bin");
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, name), `#!/bin/sh\n${code}\n`);
  chmodSync(join(bin, name), 0o755);
}

// As PostgreSQL's protocol has them: a type, a length, and what follows.
const starting = "E\0\0\0\x1eSFATAL\0C57P03\0Mstarting\0\0";
const refused = "E\0\0\0\x1cSFATAL\0C28000\0Mnot you\0\0";
const password = "R\0\0\0\x08\0\0\0\x03";
const ready = "R\0\0\0\x08\0\0\0\0S\0\0\0\x19server_version\x0017.2 (Debian)\0";

/** Answers each connection with the next of some texts, and all further ones with the last. */
async function listen(answers: readonly string[]): Promise<number> {
  const left = [...answers];
  const server: Server = createServer((socket) => {
    const answer = left.length > 1 ? left.shift() : left[0];
    socket.on("error", () => undefined).once("data", () => socket.write(answer ?? "", "latin1"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

const standIn = `
  import { writeFileSync } from "node:fs";
  import { createServer } from "node:net";
  const port = Number(process.argv[process.argv.indexOf("-p") + 1]);
  createServer((socket) => socket.once("data", () => socket.write(${JSON.stringify(ready)}, "latin1"))).listen(port, "127.0.0.1");
  process.once("SIGINT", (signal) => {
    writeFileSync(new URL("ended", import.meta.url), signal);
    process.exit();
  });
`;
