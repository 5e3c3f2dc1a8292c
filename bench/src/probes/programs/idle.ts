/** What a hundred idle services on one broker keep in memory. */

import { randomBytes } from "node:crypto";
import { Broker, Service } from "../../confluo.ts";
import { readHeap } from "../../heap.ts";
import { sendFigures } from "./sending.ts";

const SERVICES = 100;
/** That come first, so that code which is loaded late does not count. */
const FIRST = 5;

const [url = ""] = process.argv.slice(2);
const broker = new Broker(url, { namespace: `b${randomBytes(4).toString("hex")}` });

await connect("first", FIRST);
const before = await readHeap();
await connect("idle", SERVICES);
sendFigures({ heapKb: ((await readHeap()) - before) / SERVICES / 1_000 });

/** As small as a service is that has something to do: one route, one subscription. */
async function connect(name: string, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const service = new Service(`${name}-${i}`);
    service.route("/work", () => undefined).subscribe("/work/done", () => undefined);
    await service.connect(broker);
  }
}
