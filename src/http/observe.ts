/** Serves the HTTP endpoints that a cluster uses: liveness, readiness, and metrics for Prometheus. */

import { ConfluoError, type Service } from "../index.ts";
import { listen, writeJson } from "./listen.ts";
import type { Observed } from "./observed.ts";
import { METRICS_TYPE, metricsOf } from "./prometheus.ts";

/** Options of {@link observe}. */
export interface ObserveOptions {
  /** 0 chooses a free port. Default: 9464, which is OpenTelemetry's port for Prometheus. */
  readonly port?: number | undefined;
  /** The address to listen at. Default: all addresses of the machine. */
  readonly host?: string | undefined;
}

/**
 * Serves three paths for the services of this process:
 *
 * - `/healthz`: 200 while the process runs, for a liveness probe. A lost broker does not change the status, because the process
 *   reconnects without a restart.
 * - `/readyz`: 200 while every service is healthy, else 503, with the problems as JSON, for a readiness probe.
 * - `/metrics`: the counts of `service.stats()` in Prometheus' text format.
 *
 * The answers contain no parts of messages. Anyone who can reach the port can read them, so keep it inside the cluster.
 *
 * @example const observed = await observe([orders, mail], { port: 9464 });
 * @throws `INVALID_ARGUMENT` for a port or list that is not valid, or an address at which the server cannot listen.
 */
export async function observe(
  services: Service | readonly Service[],
  options: ObserveOptions = {},
): Promise<Observed> {
  const all = Array.isArray(services) ? [...services] : [services as Service];
  if (all.length === 0 || !all.every(isService))
    throw new ConfluoError("INVALID_ARGUMENT", "observe takes a service or a list of services.");
  if (new Set(all.map(({ name }) => name)).size < all.length)
    throw new ConfluoError(
      "INVALID_ARGUMENT",
      "observe takes each service only once, because its metrics are labelled with its name.",
    );
  const { port = 9464, host } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new ConfluoError("INVALID_ARGUMENT", `port must be a whole number from 0 to 65535, got ${port}.`);
  return listen({ port, host }, ({ method, url = "/" }, response) => {
    if (method !== "GET" && method !== "HEAD") {
      writeJson(response, 405, { error: "Only GET and HEAD." });
      return;
    }
    const [path] = url.split("?");
    if (path === "/metrics") {
      response.writeHead(200, { "content-type": METRICS_TYPE }).end(metricsOf(all));
      return;
    }
    if (path !== "/healthz" && path !== "/readyz") {
      writeJson(response, 404, { error: "There are /healthz, /readyz and /metrics." });
      return;
    }
    const health = all.map(healthOf);
    const isReady = health.every(({ status }) => status === "healthy");
    writeJson(response, path === "/healthz" || isReady ? 200 : 503, { ready: isReady, services: health });
  });
}

function isService(value: unknown): value is Service {
  return typeof (value as Partial<Service> | null)?.stats === "function";
}

function healthOf(service: Service): Readonly<Record<string, unknown>> {
  const { status, state, detached, blocked, stalled, reason } = service.health();
  const why = blocked ?? reason?.message ?? (stalled && `messages do not return from ${stalled.join(", ")}`);
  return { service: service.name, status, state, detached, ...(why === undefined ? {} : { reason: why }) };
}
