/** The program that talks to all services of a fleet. */

import { Broker, Service } from "../../confluo.ts";
import { now, obey } from "../fleet/orders.ts";

const [url = "", namespace = ""] = process.argv.slice(2);
const TICK_MS = 20;
const logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const sender = await new Service("sender", { logger }).connect(new Broker(url, { namespace, logger }));

const confirmed: number[] = [];
const rejected: number[] = [];
const codes: Record<string, number> = {};
const open: Promise<void>[] = [];
let answered = 0;
let failed = 0;
let timer: NodeJS.Timeout | undefined;

function ignore(): void {}

function count(error: unknown): void {
  const code = String((error as { readonly code?: unknown }).code ?? error);
  codes[code] = (codes[code] ?? 0) + 1;
}

async function send(service: string, n: number): Promise<void> {
  try {
    await sender.send(service, "/work", { n });
    confirmed.push(n);
  } catch (error) {
    count(error);
    rejected.push(n);
  }
}

async function call(service: string, n: number): Promise<void> {
  try {
    const { body } = await sender.call(service, "/ask", { n });
    if ((body as { readonly n: number }).n !== n) throw new Error("a wrong answer");
    answered += 1;
  } catch (error) {
    count(error);
    failed += 1;
  }
}

obey({
  announce: async (n) => {
    const at = now();
    await sender.publish("/fleet/announced", { n });
    return at;
  },
  load: async ({ services, perSecond }) => {
    const began = performance.now();
    let n = 0;
    timer = setInterval(() => {
      for (; n < ((performance.now() - began) / 1_000) * perSecond; n += 1) {
        open.push(send(services[n % services.length] ?? "", n));
        open.push(call(services[(n * 7) % services.length] ?? "", n));
      }
    }, TICK_MS);
  },
  stop: async () => {
    clearInterval(timer);
    await Promise.all(open);
    return { confirmed, rejected, answered, failed, codes };
  },
});
