/** `confluo show`: one service from close by. */

import { type Broker, ConfluoError, type InstanceInfo } from "../../index.ts";
import { type BrokerFlags, brokerOf, type CommandSetup, limitsOf, withBrokerFlags } from "../context.ts";
import { forHumans, handlersOf, instanceLine, rateForHumans, type Snapshot } from "../fleet.ts";
import { type Column, cut, tableOf } from "../table.ts";
import { jsonOf, paintOf, type Terminal, writeLine } from "../terminal.ts";
import { watch } from "../watch.ts";
import { healthOf } from "./ls.ts";

interface Flags extends BrokerFlags {
  readonly watch?: true;
  readonly contracts?: true;
}

export const showCommand: CommandSetup = (program, terminal) => {
  withBrokerFlags(
    program
      .command("show <service>")
      .description(
        "show a service: its instances, routes and subscriptions, rates, latencies, errors, queues",
      )
      .option("-c, --contracts", "print the contracts of its routes and subscriptions as JSON Schema")
      .option("-w, --watch", "again every two seconds, until Ctrl-C"),
  ).action(async (service: string, flags: Flags) => {
    const view = new View(brokerOf(flags, terminal), service, { flags, terminal });
    if (flags.watch) await watch(terminal, () => view.draw());
    else for (const line of await view.draw()) writeLine(terminal.stdout, line);
  });
};

class View {
  readonly #broker: Broker;
  readonly #service: string;
  readonly #flags: Flags;
  readonly #terminal: Terminal;
  #before: Snapshot | undefined;

  constructor(
    broker: Broker,
    service: string,
    { flags, terminal }: { readonly flags: Flags; readonly terminal: Terminal },
  ) {
    this.#broker = broker;
    this.#service = service;
    this.#flags = flags;
    this.#terminal = terminal;
  }

  async draw(): Promise<readonly string[]> {
    const options = { service: this.#service, ...limitsOf(this.#flags, this.#terminal) };
    const [infos, stats] = await Promise.all([this.#broker.discover(options), this.#broker.stats(options)]);
    const now = { stats, at: performance.now() };
    const [service] = stats;
    if (service === undefined)
      throw new ConfluoError(
        "NO_SUCH_SERVICE",
        `No instance of ${this.#service} answers at this broker and namespace.`,
      );
    const handlers = handlersOf(service, now, this.#before);
    this.#before = now;
    if (this.#flags.json)
      return [jsonOf({ service: this.#service, instances: infos, handlers, queues: service.queues })];
    if (this.#flags.contracts) return [JSON.stringify(contractsOf(infos), undefined, 2)];
    const paint = paintOf(this.#terminal);
    const instances = infos.map(instanceLine);
    const titles = Object.keys(instances[0] ?? {});
    const errors = handlers.flatMap(({ name, lastError, lastRefusal }) =>
      [lastError, lastRefusal].flatMap((last) => (last === undefined ? [] : [{ name, ...last }])),
    );
    return [
      paint.strong(this.#service),
      "",
      ...tableOf(
        titles.map((title) => ({ title: title.toUpperCase() })),
        instances.map((line) =>
          titles.map((title) =>
            title === "health" ? healthOf(line[title] ?? "", paint) : (line[title] ?? ""),
          ),
        ),
      ),
      "",
      ...tableOf(
        columns,
        handlers.map((line) => [
          line.name,
          line.kind,
          rateForHumans(line.perSecond),
          String(line.handled),
          String(line.refused),
          line.failed === 0 ? "0" : paint.bad(String(line.failed)),
          String(line.retried),
          line.deadLettered === 0 ? "0" : paint.bad(String(line.deadLettered)),
          String(line.inFlight),
          forHumans(line.p50Ms),
          forHumans(line.p95Ms),
          forHumans(line.p99Ms),
        ]),
      ),
      "",
      ...Object.entries(service.queues).flatMap(([name, queue]) =>
        queue === undefined ? [] : [`${name}: ${queue.messages} waiting, ${queue.consumers} consumers`],
      ),
      ...(errors.length === 0 ? [] : ["", "Last errors:"]),
      ...errors.map(({ name, code, message, at }) =>
        cut(`  ${at} ${name} ${paint.bad(code)} ${message}`, 300),
      ),
    ];
  }
}

const columns: readonly Column[] = [
  { title: "HANDLES" },
  { title: "AS" },
  { title: "RATE", align: "right" },
  { title: "HANDLED", align: "right" },
  { title: "REFUSED", align: "right" },
  { title: "FAILED", align: "right" },
  { title: "RETRIED", align: "right" },
  { title: "DEAD", align: "right" },
  { title: "IN FLIGHT", align: "right" },
  { title: "P50", align: "right" },
  { title: "P95", align: "right" },
  { title: "P99", align: "right" },
];

// Of the first instance that answered; during a deploy they may differ.
function contractsOf([info]: readonly InstanceInfo[]): object {
  return { routes: info?.routes ?? [], subscriptions: info?.subscriptions ?? [] };
}
