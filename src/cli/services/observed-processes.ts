/** Combines the HTTP answers of several processes. */

import type { ServerResponse } from "node:http";
import type { Observed } from "../../http/index.ts";
import { listen, writeJson } from "../../http/listen.ts";

/** Time limit for the answer of a process: longer than a healthy process needs, shorter than usual probes wait. */
const ASK_MS = 900;

interface ProcessAnswer {
  readonly isOk: boolean;
  readonly text: string;
}

/**
 * Serves `/healthz`, `/readyz` and `/metrics` for processes that each serve their own. The first two answer 200 if all
 * processes do; each sample of the third has a label `process`, counted from 1.
 *
 * @param urls of the processes; `undefined` for a process that is not running.
 * @throws `INVALID_ARGUMENT` for an address that cannot be used.
 */
export function observeProcesses(
  address: { readonly port: number; readonly host?: string },
  urls: () => readonly (string | undefined)[],
): Promise<Observed> {
  return listen(address, ({ url = "/" }, response) => {
    const [path = "/"] = url.split("?");
    void answer(path, urls(), response);
  });
}

async function answer(
  path: string,
  urls: readonly (string | undefined)[],
  response: ServerResponse,
): Promise<void> {
  if (!["/healthz", "/readyz", "/metrics"].includes(path)) {
    writeJson(response, 404, { error: "There are /healthz, /readyz and /metrics." });
    return;
  }
  const answers = await Promise.all(urls.map((url) => asked(url, path)));
  if (path === "/metrics") {
    const metrics = mergedMetrics(answers.map((each) => (each?.isOk ? each.text : "")));
    response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }).end(metrics);
    return;
  }
  // A process that has not started yet counts as alive but not ready.
  const isWell = answers.every((each, at) => each?.isOk ?? (path === "/healthz" && urls[at] === undefined));
  const processes = answers.map((each) =>
    each === undefined ? { ready: false, services: [] } : JSON.parse(each.text),
  );
  writeJson(response, isWell ? 200 : 503, {
    ready: path === "/readyz" ? isWell : processes.every(({ ready }) => ready),
    processes,
  });
}

async function asked(url: string | undefined, path: string): Promise<ProcessAnswer | undefined> {
  if (url === undefined) return undefined;
  try {
    const response = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(ASK_MS) });
    return { isOk: response.ok, text: await response.text() };
  } catch {
    return undefined;
  }
}

/** Merges texts in Prometheus' format: each metric is declared once, and each sample has a label for its process. */
export function mergedMetrics(texts: readonly string[]): string {
  const metrics = new Map<string, { readonly head: string[]; readonly samples: string[] }>();
  for (const [at, text] of texts.entries()) {
    let samples: string[] = [];
    for (const line of text.split("\n")) {
      const [, kind, name = ""] = /^# (HELP|TYPE) (\S+)/.exec(line) ?? [];
      if (kind !== undefined) {
        const metric = metrics.get(name) ?? { head: [], samples: [] };
        metrics.set(name, metric);
        if (!metric.head.includes(line)) metric.head.push(line);
        samples = metric.samples;
      } else if (line !== "") samples.push(line.replace("{", `{process="${at + 1}",`));
    }
  }
  const lines = [...metrics.values()].flatMap(({ head, samples }) => [...head, ...samples]);
  return lines.map((line) => `${line}\n`).join("");
}
