/** The alert rules of `docs/alerts.yml`, on what a fleet and its broker really show: each fires on its fault, and on no other. */

import { copyFileSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Channel, connect } from "amqplib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPromtool, type Promtool } from "../scripts/promtool.mjs";
import { type ExtraNode, findNodeStarter } from "../scripts/test-broker.mjs";
import { observe } from "../src/http/index.ts";
import { Broker, Service, silentLogger } from "../src/index.ts";
import { eventually } from "../src/testing/index.ts";
import { testBrokerUrl } from "./support/rabbitmq.ts";
import { type InputSeries, merged, type Scrape, scrape } from "./support/scrape.ts";

const DETAILED = "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count";
/** Of what waits in each of two queues of a service, neither of which is a backlog by itself. */
const BACKLOG = 6_000;

const docs = join(import.meta.dirname, "..", "docs");
let promtool: Promtool;
const folder = realpathSync(mkdtempSync(join(tmpdir(), "confluo-alerts-")));

beforeAll(async () => {
  promtool = await findPromtool();
  copyFileSync(join(docs, "alerts.yml"), join(folder, "alerts.yml"));
}, 600_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("are rules to Prometheus", async () => {
  const { code, output } = await promtool(folder, ["check", "rules", "alerts.yml"]);
  expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining("SUCCESS") });
});

it("are loaded, with all scrapes that they need, by the configuration in the guide", async () => {
  const guide = readFileSync(join(docs, "operations.md"), "utf8");
  const [, config = ""] = /```yaml\n(rule_files:[^`]+)```/.exec(guide) ?? [];
  writeFileSync(join(folder, "prometheus.yml"), config);
  const { code, output } = await promtool(folder, ["check", "config", "prometheus.yml"]);
  expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining("12 rules found") });
});

/** What there is to scrape while all is well, a minute later, after the faults, and under an alarm. */
interface Fleet {
  readonly before: Scrape;
  readonly healthy: Scrape;
  readonly faulty: Scrape;
  readonly alarmed: Scrape;
  readonly down: Scrape;
}

const starter = await findNodeStarter(testBrokerUrl());
if (typeof starter === "string") console.warn(`What needs a broker that is scraped is NOT RUN: ${starter}.`);

describe.skipIf(typeof starter === "string")("on a fleet", () => {
  let fleet: Fleet;

  beforeAll(async () => {
    if (typeof starter === "string") return;
    const node = await starter({
      plugins: ["rabbitmq_prometheus"],
      config: ({ port }) => [`prometheus.tcp.ip = 127.0.0.1`, `prometheus.tcp.port = ${port}`],
    });
    try {
      fleet = await scrapeFleet(node);
    } finally {
      await node.stop();
    }
  }, 180_000);

  const grows = (name: string, over: Partial<Fault> = {}): Fault => ({ name, how: "goes on", ...over });
  const once = (name: string, over: Partial<Fault> = {}): Fault => ({ name, how: "once", ...over });
  const depth = "rabbitmq_detailed_queue_messages_ready";
  const slow = (series: string): number => (/le="(0|1|2\.5)/.test(series) ? 0 : 100);

  it.each<readonly [fault: string, alerts: readonly string[], what: Fault | undefined]>([
    ["nothing", [], undefined],
    ["a dead letter and an orphan", ["ConfluoDeadLettersWait"], once(depth, { only: /(dead|orphans)"/ })],
    [
      "a handler that gives up",
      ["ConfluoDeadLettered"],
      once("confluo_dead_lettered_total", { only: /fails/ }),
    ],
    [
      "letters that no handler is there for",
      ["ConfluoDeadLettered"],
      once("confluo_dead_lettered_total", { only: /path=""/ }),
    ],
    ["a sender that is ahead", ["ConfluoUnmatched"], grows("confluo_unmatched_total")],
    ["a call to the wrong path, once", [], once("confluo_unmatched_total")],
    ["a sender that is wrong", ["ConfluoMalformed"], once("confluo_malformed_total")],
    ["a handler that fails", ["ConfluoFailures"], grows("confluo_failed_total")],
    [
      "a handler that is slow",
      ["ConfluoSlow"],
      grows("confluo_handler_duration_seconds_bucket", { to: slow }),
    ],
    ["an instance that is down", ["ConfluoNotReady"], once("confluo_healthy", { in: "down" })],
    ["a network that is unsteady", ["ConfluoReconnects"], once("confluo_reconnects_total", { to: () => 4 })],
    ["a service without instances", ["ConfluoNobodyThere"], once("rabbitmq_detailed_queue_consumers")],
    ["suspects and others that wait", ["ConfluoBacklog"], once(depth, { only: /gone/ })],
    [
      "a broker without memory",
      ["ConfluoBrokerAlarm"],
      once("rabbitmq_alarms_memory_used_watermark", { in: "alarmed" }),
    ],
  ])("%s: %j", async (_, alerts, what) => {
    expect(await firing(seriesOf(fleet, what === undefined ? [] : [what]))).toEqual(alerts);
  });

  it.each<readonly [name: string, alerts: readonly string[], to: number | undefined]>([
    ["confluo_dead_lettered_total", ["ConfluoDeadLettered"], undefined],
    ["confluo_malformed_total", ["ConfluoMalformed"], undefined],
    ["confluo_reconnects_total", ["ConfluoReconnects"], 4],
    ["confluo_handled_total", [], undefined],
  ])("a series of %s that begins above 0: %j, and later none", async (name, alerts, to) => {
    const late = (at: number): readonly InputSeries[] =>
      seriesOf(fleet, [once(name, { isNew: true, at, ...(to === undefined ? {} : { to: () => to }) })]);
    expect(await firing(late(30))).toEqual(alerts);
    expect(await firing(late(10))).toEqual([]);
  });

  it.each([
    ["the services", /^confluo_/],
    ["RabbitMQ", /^rabbitmq_alarms_/],
    ["RabbitMQ's queues", /^rabbitmq_detailed_queue_messages_ready/],
    ["RabbitMQ's consumers", /^rabbitmq_detailed_queue_consumers/],
  ])("without the scrape of %s: told so", async (_, missing) => {
    const series = seriesOf(fleet, []).filter((each) => !missing.test(each.series));
    expect(await firing(series)).toEqual(["ConfluoNotScraped"]);
  });

  it("RabbitMQ's /metrics names no queues, so that it has to be the detailed one", async () => {
    const own = [...fleet.alarmed.keys()].filter((series) =>
      series.startsWith("rabbitmq_queue_messages_ready{"),
    );
    expect(own).toHaveLength(1);
    expect(own[0]).not.toContain("queue=");
  });
});

/** What differs from a fleet that is well. */
interface Fault {
  readonly name: string;
  /** Series of that name; default: all. */
  readonly only?: RegExp;
  /** As it was seen there; default: `faulty`. */
  readonly in?: "faulty" | "alarmed" | "down";
  /** Instead of what was seen: its value or, if it goes on, what it grows by in a minute. */
  readonly to?: (series: string) => number;
  readonly how: "once" | "goes on";
  /** After so many minutes; default: 30, or 10 if it goes on. */
  readonly at?: number;
  /** Whether there is no series before. */
  readonly isNew?: boolean;
}

const MINUTES = 60;
const LOOK_AT = 38;

/** A fleet that is well and works, but for the faults. */
function seriesOf(fleet: Fleet, faults: readonly Fault[]): readonly InputSeries[] {
  const used = /^(confluo_|rabbitmq_alarms_|rabbitmq_detailed_queue_(messages_ready|consumers)\{)/;
  const all = new Set(
    [...fleet.healthy.keys(), ...fleet.faulty.keys()].filter((series) => used.test(series)),
  );
  return [...all].flatMap((series) => {
    const fault = faults.find(
      ({ name, only }) => series.startsWith(`${name}{`) && (only?.test(series) ?? true),
    );
    const well = fleet.healthy.get(series);
    // Queues of what only the faults brought are no part of a fleet that is well.
    if (well === undefined && fault === undefined) return [];
    const from = well ?? 0;
    const growth = Math.max(0, from - (fleet.before.get(series) ?? from));
    const isCounter = /_(total|bucket|sum|count)\{/.test(series);
    const growing = (start: number, by: number, minutes: number): string => `${start}+${by}x${minutes}`;
    if (fault === undefined) return [{ series, values: growing(from, isCounter ? growth : 0, MINUTES) }];
    const {
      how,
      at = how === "once" ? 30 : 10,
      isNew = well === undefined,
      to,
      in: where = "faulty",
    } = fault;
    const seen = to?.(series) ?? fleet[where].get(series) ?? from;
    const before = isNew ? `_x${at - 1}` : growing(from, 0, at - 1);
    const after =
      how === "once"
        ? growing(isCounter && to !== undefined ? from + seen : seen, 0, MINUTES - at)
        : growing(from, to === undefined ? seen - from : seen, MINUTES - at);
    return [{ series, values: `${before} ${after}` }];
  });
}

/** The alerts that fire at a time when a fault that goes on has done so for longer than any rule waits. */
async function firing(series: readonly InputSeries[]): Promise<readonly string[]> {
  const test = {
    rule_files: ["alerts.yml"],
    evaluation_interval: "1m",
    tests: [
      {
        interval: "1m",
        input_series: series,
        promql_expr_test: [
          {
            expr: 'group by (alertname) (ALERTS{alertstate="firing"})',
            eval_time: `${LOOK_AT}m`,
            // It only compares: asked for none, it names those that there are.
            exp_samples: [],
          },
        ],
      },
    ],
  };
  writeFileSync(join(folder, "test.json"), JSON.stringify(test));
  const { code, output } = await promtool(folder, ["test", "rules", "test.json"]);
  if (code === 0) return [];
  const names = [...new Set([...output.matchAll(/alertname="(\w+)"/g)].map(([, name = ""]) => name))].sort();
  if (names.length === 0) throw new Error(output);
  return names;
}

/** Runs a fleet, scrapes it while it is well, and again after it was wronged in every way. */
async function scrapeFleet({ url, extraPort, control }: ExtraNode): Promise<Fleet> {
  const broker = new Broker(url, { namespace: "fleet" });
  const options = { broker, logger: silentLogger, retry: { attempts: 1 }, unhandledRetryMs: 1 };
  const shop = new Service("shop", options)
    .route("/works", () => 1)
    .route("/fails", () => {
      throw new Error("as it should");
    })
    .subscribe("/e", () => undefined);
  await shop.connect();
  const observed = await observe(shop, { port: 0, host: "127.0.0.1" });
  const connection = await connect(url);
  const gone = new Service("gone", { ...options, logger: silentLogger }).route("/", () => 1);
  try {
    const channel = await connection.createConfirmChannel();
    const node = `http://127.0.0.1:${extraPort}`;
    const services = (): Promise<Scrape> => scrape(`${observed.url}/metrics`, "services");
    const queues = (): Promise<Scrape> => scrape(node + DETAILED, "rabbitmq-queues");
    const all = async (): Promise<Scrape> =>
      merged(await services(), await queues(), await scrape(`${node}/metrics`, "rabbitmq"));
    const work = async (): Promise<void> => {
      for (let n = 0; n < 10; n += 1) await shop.call("shop", "/works");
      await shop.publish("/e");
    };
    await work();
    const before = await services();
    await work();
    // The broker tells of its queues every five seconds.
    await eventually(
      async () => {
        const seen = await queues();
        return (
          depthOf(seen, "consumers", "fleet.shop.inbox") === 1 &&
          depthOf(seen, "messages_ready", "fleet.shop.dead") === 0
        );
      },
      "the broker to tell of the queues",
      { timeoutMs: 60_000 },
    );
    const healthy = await all();

    await shop.send("shop", "/fails");
    await shop.send("shop", "/nowhere");
    await shop.call("shop", "/nowhere").catch(() => undefined);
    await gone.connect();
    await gone.shutdown();
    await wrong(channel);
    await channel.waitForConfirms();
    await eventually(
      async () => {
        const seen = await queues();
        return (
          depthOf(seen, "messages_ready", "fleet.shop.dead") === 3 &&
          depthOf(seen, "messages_ready", "fleet.orphans") === 1 &&
          depthOf(seen, "messages_ready", "fleet.gone.inbox") === BACKLOG &&
          depthOf(seen, "messages_ready", "fleet.gone.inbox.again") === BACKLOG &&
          depthOf(seen, "consumers", "fleet.gone.inbox") === 0
        );
      },
      "the broker to tell of the faults",
      { timeoutMs: 60_000 },
    );
    const faulty = await all();
    await control(["set_vm_memory_high_watermark", "absolute", "1MB"]);
    const isAlarmed = async (): Promise<boolean> =>
      [...(await scrape(`${node}/metrics`, "rabbitmq"))].some(
        ([series, value]) => /alarms_memory/.test(series) && value === 1,
      );
    await eventually(isAlarmed, "the alarm", { timeoutMs: 30_000 });
    const alarmed = await all();
    await shop.shutdown();
    return { before, healthy, faulty, alarmed, down: await services() };
  } finally {
    await observed.close();
    await Promise.all([shop.shutdown(), gone.shutdown()]);
    await connection.close().catch(() => undefined);
  }
}

async function wrong(channel: Channel): Promise<void> {
  channel.sendToQueue("fleet.shop.inbox", Buffer.from("{"), { contentType: "application/json" });
  channel.publish("fleet.back", "nowhere", Buffer.from("1"));
  for (let n = 0; n < BACKLOG; n += 1)
    for (const queue of ["fleet.gone.inbox", "fleet.gone.inbox.again"])
      channel.sendToQueue(queue, Buffer.from("1"));
}

function depthOf(seen: Scrape, what: string, queue: string): number | undefined {
  for (const [series, value] of seen)
    if (series.startsWith(`rabbitmq_detailed_queue_${what}{`) && series.includes(`queue="${queue}"`))
      return value;
  return undefined;
}
