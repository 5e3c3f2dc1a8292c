/** Fifty instances, and `confluo ls` as a process that asks them. */

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Broker, Service } from "../../confluo.ts";
import { median } from "../../statistics.ts";
import { sendFigures } from "./sending.ts";

const TIMES = 5;
const main = fileURLToPath(new URL("../../../../dist/cli/main.js", import.meta.url));
const [url] = process.argv.slice(2) as [string];
const namespace = `b${randomBytes(4).toString("hex")}`;
const broker = new Broker(url, { namespace });
// Nothing of it is for the home of whoever runs this.
const env = { ...process.env, CONFLUO_STATE: "off" };
const services = Array.from({ length: 50 }, (_, n) => new Service(`service-${n % 10}`));
await Promise.all(services.map((service) => service.route("/work", ({ body }) => body).connect(broker)));

const lists: number[] = [];
const versions: number[] = [];
for (let time = 0; time < TIMES; time += 1) {
  const list = await timed(["ls", "--json", "--broker", url, "--namespace", namespace]);
  const lines = JSON.parse(list.out) as readonly { readonly instances: number }[];
  const instances = lines.reduce((sum, line) => sum + line.instances, 0);
  if (instances !== services.length) throw new Error(`confluo ls found ${instances} of ${services.length}.`);
  lists.push(list.ms);
  versions.push((await timed(["--version"])).ms);
}
await Promise.all(services.map((service) => service.shutdown()));
sendFigures({ listMs: median(lists), versionMs: median(versions) });

async function timed(args: readonly string[]): Promise<{ readonly out: string; readonly ms: number }> {
  const began = performance.now();
  const { stdout } = await promisify(execFile)(process.execPath, [main, ...args], { env });
  return { out: stdout, ms: performance.now() - began };
}
