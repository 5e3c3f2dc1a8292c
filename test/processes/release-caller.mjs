/** A caller of any build of confluo: 64 calls at a time until it is told to stop, each answer compared with what was asked. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [build = "", url = "", namespace = ""] = process.argv.slice(2);
process.on("disconnect", () => process.exit(1)); // the test is gone

const { Broker, Service, silentLogger } = await import(pathToFileURL(join(build, "dist", "index.js")).href);
const broker = new Broker(url, { namespace, logger: silentLogger });
const caller = await new Service("caller", { broker, logger: silentLogger, timeoutMs: 10_000 }).connect();
let isOver = false;
let answered = 0;
/** @type {Map<string, number>} */
const wrong = new Map();

/** @param {number} line */
async function callOn(line) {
  for (let n = 0; !isOver; n += 1) {
    const asked = `${line} ${n}`;
    try {
      const { body } = await caller.call("worker", "/echo", asked);
      if (body === asked) answered += 1;
      else count(`answered ${JSON.stringify(body)}`);
    } catch (error) {
      count(error instanceof Error && "code" in error ? String(error.code) : String(error));
    }
  }
}

/** @param {string} what */
function count(what) {
  wrong.set(what, (wrong.get(what) ?? 0) + 1);
}

const lines = Array.from({ length: 64 }, (_, line) => callOn(line));
process.send?.("ready");
process.once("message", async () => {
  isOver = true;
  await Promise.all(lines);
  await caller.shutdown();
  process.send?.({ answered, wrong: Object.fromEntries(wrong) }, () => process.exit(0));
});
