import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { mergedMetrics, observeProcesses } from "./observed-processes.ts";

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** A process's own endpoint. */
async function processThatIs({ ready }: { readonly ready: boolean }): Promise<string> {
  const server = createServer(({ url }, response) => {
    const isWell = ready || url !== "/readyz";
    if (url === "/metrics")
      response.end(`# HELP up Up.\n# TYPE up gauge\nup{service="s"} ${ready ? 1 : 0}\n`);
    else response.writeHead(isWell ? 200 : 503).end(JSON.stringify({ ready, services: [{ service: "s" }] }));
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  cleanUp.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function observed(urls: readonly (string | undefined)[]): Promise<(path: string) => Promise<Response>> {
  const { url, close } = await observeProcesses({ port: 0, host: "127.0.0.1" }, () => urls);
  cleanUp.push(close);
  return (path) => fetch(`${url}${path}`);
}

describe("several processes", () => {
  it("are ready when all of them are", async () => {
    const [well, ill] = [await processThatIs({ ready: true }), await processThatIs({ ready: false })];
    const both = await observed([well, well]);
    expect((await both("/readyz")).status).toBe(200);
    const one = await observed([well, ill]);
    const answer = await one("/readyz");
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({
      ready: false,
      processes: [{ ready: true }, { ready: false }],
    });
    expect((await one("/healthz")).status).toBe(200);
    expect((await one("/other")).status).toBe(404);
  });

  it("are alive while they start, and not when one of them does not answer any more", async () => {
    const well = await processThatIs({ ready: true });
    const starting = await observed([well, undefined]);
    expect((await starting("/healthz")).status).toBe(200);
    expect((await starting("/readyz")).status).toBe(503);
    const gone = await observed([well, "http://127.0.0.1:1"]);
    expect((await gone("/healthz")).status).toBe(503);
  });

  it("have each metric once, with a sample for each of them", async () => {
    const [well, ill] = [await processThatIs({ ready: true }), await processThatIs({ ready: false })];
    expect(await (await (await observed([well, ill]))("/metrics")).text()).toBe(
      '# HELP up Up.\n# TYPE up gauge\nup{process="1",service="s"} 1\nup{process="2",service="s"} 0\n',
    );
    expect(mergedMetrics(["", ""])).toBe("");
  });
});
