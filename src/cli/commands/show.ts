/** `confluo show`: shows the details of one service. */

import {
  type Broker,
  ConfluoError,
  type DelayedMessages,
  type InstanceInfo,
  type ServiceStats,
} from "../../index.ts";
import type { KnownServices } from "../../known/known-services.ts";
import {
  type BrokerFlags,
  brokerOf,
  type CommandSetup,
  limitsOf,
  servicesToLookFor,
  withBrokerFlags,
} from "../broker-flags.ts";
import { forHumans, handlersOf, instanceLine, OVER, rateForHumans } from "../services/service-table.ts";
import { delayedLines, queueLines, silentLines } from "../services/silent.ts";
import { talkLines } from "../services/talkers.ts";
import { knownServicesAt } from "../state/kept-names.ts";
import { type Column, cut, fittedTable, tableOf } from "../table.ts";
import { jsonOf, paintOf, type Terminal, writeLine } from "../terminal.ts";
import { watch } from "../watch.ts";
import { healthOf } from "./ls.ts";

interface ShowFlags extends BrokerFlags {
  readonly watch?: true;
  readonly contracts?: true;
}

export const showCommand: CommandSetup = (program, terminal) => {
  withBrokerFlags(
    program
      .command("show <service>")
      .description(
        "show a service: its instances, routes and subscriptions, rates, latencies, errors, queues, and the services it talks to; if none of its instances answers, the state of its queues",
      )
      .option("-c, --contracts", "print the contracts of its routes and subscriptions as JSON Schema")
      .option("-w, --watch", "repeat every two seconds, until Ctrl-C"),
  ).action(async (service: string, flags: ShowFlags) => {
    const view = new View(brokerOf(flags, terminal), service, { flags, terminal });
    if (flags.watch) await watch(terminal, () => view.draw());
    else for (const line of await view.draw()) writeLine(terminal.stdout, line);
  });
};

class View {
  readonly #broker: Broker;
  readonly #service: string;
  readonly #known: KnownServices;
  readonly #flags: ShowFlags;
  readonly #terminal: Terminal;

  constructor(
    broker: Broker,
    service: string,
    { flags, terminal }: { readonly flags: ShowFlags; readonly terminal: Terminal },
  ) {
    this.#broker = broker;
    this.#service = service;
    this.#known = knownServicesAt(broker, terminal);
    this.#flags = flags;
    this.#terminal = terminal;
  }

  async draw(): Promise<readonly string[]> {
    const options = { service: this.#service, ...limitsOf(this.#flags, this.#terminal) };
    const [infos, stats, delays] = await Promise.all([
      this.#broker.discover(options),
      this.#broker.stats(options),
      this.#broker.delayed(limitsOf(this.#flags, this.#terminal)),
    ]);
    const delayed = delays.find((each) => each.service === this.#service);
    const [service] = stats;
    if (service === undefined) return this.#silent();
    this.#known.learn(stats);
    const handlers = handlersOf(service);
    if (this.#flags.json) return [jsonOf(machineForm(service, infos, delayed))];
    if (this.#flags.contracts) return [JSON.stringify(contractsOf(infos), undefined, 2)];
    const paint = paintOf(this.#terminal);
    const instances = infos.map(instanceLine);
    const titles = Object.keys(instances[0] ?? {});
    const errors = handlers.flatMap(({ name, lastError, lastRefusal }) =>
      [lastError, lastRefusal].flatMap((last) => (last === undefined ? [] : [{ name, ...last }])),
    );
    const { lines: handled, leftOut } = fittedTable(
      columns,
      handlers.map((line) => [
        line.name,
        line.kind,
        rateForHumans(line.perSecond),
        String(line.handled),
        String(line.refused),
        line.failed === 0 ? "0" : paint.bad(String(line.failed)),
        String(line.retried),
        line.toRetry === 0 ? "0" : paint.doubtful(String(line.toRetry)),
        line.deadLettered === 0 ? "0" : paint.bad(String(line.deadLettered)),
        String(line.inFlight),
        forHumans(line.p50Ms),
        forHumans(line.p95Ms),
        forHumans(line.p99Ms),
      ]),
      this.#terminal.stdout.columns,
    );
    const without = leftOut.length === 0 ? [] : [paint.faint(`No room for ${leftOut.join(", ")}.`)];
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
      paint.faint(`RATE, P50, P95 and P99 are ${OVER}, counts since the instances started.`),
      ...without,
      ...handled,
      "",
      ...queueLines(service),
      ...delayedLines(delayed),
      ...talkLines(service),
      ...(errors.length === 0 ? [] : ["", "Last errors:"]),
      ...errors.map(({ name, code, message, at }) =>
        cut(`  ${at} ${name} ${paint.bad(code)} ${message}`, 300),
      ),
    ];
  }

  // Shows a service whose instances do not answer: its queues, and the services that use it.
  async #silent(): Promise<readonly string[]> {
    const limits = limitsOf(this.#flags, this.#terminal);
    const services = [...new Set([this.#service, ...servicesToLookFor(this.#terminal)])];
    const overview = await this.#known.look(this.#broker, { services, ...limits });
    const service = overview.services.find((each) => each.service === this.#service);
    if (service === undefined)
      throw new ConfluoError(
        "NO_SUCH_SERVICE",
        `There is neither an instance nor a queue of ${this.#service} at this broker and namespace.`,
      );
    if (this.#flags.contracts)
      throw new ConfluoError(
        "NO_SUCH_SERVICE",
        `No instance of ${this.#service} answers, and only instances know contracts.`,
      );
    if (this.#flags.json)
      return [
        jsonOf(
          machineForm(
            service,
            [],
            overview.delayed.find((each) => each.service === this.#service),
          ),
        ),
      ];
    return silentLines(service, overview, paintOf(this.#terminal));
  }
}

function machineForm(
  stats: ServiceStats,
  instances: readonly InstanceInfo[],
  delayed: DelayedMessages | undefined,
): object {
  const { service, queues, unknownQueues, calls, sends, publishes, unclaimed } = stats;
  return {
    service,
    instances,
    handlers: handlersOf(stats),
    queues,
    unknownQueues,
    calls,
    sends,
    publishes,
    unclaimed,
    ...(delayed === undefined ? {} : { delayed: { messages: delayed.messages, until: delayed.until } }),
  };
}

const columns: readonly Column[] = [
  { title: "HANDLES" },
  { title: "AS", spare: 7 },
  { title: "RATE", align: "right" },
  { title: "HANDLED", align: "right" },
  { title: "REFUSED", spare: 4, align: "right" },
  { title: "FAILED", align: "right" },
  { title: "RETRIED", spare: 3, align: "right" },
  { title: "RETRY", align: "right" },
  { title: "DEAD", align: "right" },
  { title: "IN FLIGHT", spare: 5, align: "right" },
  { title: "P50", spare: 2, align: "right" },
  { title: "P95", spare: 6, align: "right" },
  { title: "P99", align: "right" },
];

// The contracts of the first instance that answered; during a deploy, instances may differ.
function contractsOf([info]: readonly InstanceInfo[]): object {
  return { routes: info?.routes ?? [], subscriptions: info?.subscriptions ?? [] };
}
