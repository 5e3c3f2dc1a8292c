/** `confluo doctor`: finds problems, and gives advice. */

import { randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import {
  type AmqpClient,
  type Broker,
  type ConfluoError,
  type InstanceInfo,
  isConfluoError,
  type QueueInfo,
  type ServiceStats,
  silentLogger,
} from "../../index.ts";
import type { KnownServices } from "../../known/known-services.ts";
import {
  addressOf,
  type BrokerFlags,
  brokerAt,
  brokerOf,
  type CommandSetup,
  limitsOf,
  servicesToLookFor,
  withBrokerFlags,
} from "../broker-flags.ts";
import {
  aboutAddress,
  aboutBindings,
  aboutClocks,
  aboutConflicts,
  aboutFeatureFlags,
  aboutNodes,
  aboutServer,
  aboutService,
  aboutVersions,
  counted,
  type Finding,
  ok,
  problem,
  unknownDepth,
  warning,
} from "../checks/checks.ts";
import {
  aboutDelays,
  aboutOldDelays,
  isHeldUp,
  oldDelays,
  stalledDelays,
  type WatchedQueue,
} from "../checks/delays.ts";
import { Management } from "../checks/management.ts";
import { aboutPolicies } from "../checks/policies.ts";
import { EndedError, exitCodes } from "../exit-codes.ts";
import { aboutDelayed, aboutMissing, aboutSilent, lookedAt } from "../services/absent.ts";
import { knownServicesAt } from "../state/kept-names.ts";
import { paintOf, type Terminal, writeJson, writeLine } from "../terminal.ts";

interface DoctorFlags extends BrokerFlags {
  readonly management?: string;
}

export const doctorCommand: CommandSetup = (program, terminal) => {
  withBrokerFlags(
    program
      .command("doctor [services...]")
      .description(
        "check the broker, its settings and all services that are known, as with ls, and say what to do; ends with 1 if there is a problem",
      )
      .option(
        "-m, --management <url>",
        "URL of RabbitMQ's management, such as http://user:password@host:15672/vhost, to find queues and bindings of services that are gone, policies that destroy messages, and feature flags (CONFLUO_MANAGEMENT)",
      ),
  ).action(async (services: string[], flags: DoctorFlags) => {
    const findings = await new Examination(services, flags, terminal).findings();
    if (flags.json) for (const finding of findings) writeJson(terminal, finding);
    else for (const line of linesOf(findings, terminal)) writeLine(terminal.stdout, line);
    if (findings.some(({ level }) => level === "problem")) throw new EndedError(exitCodes.failed);
  });
};

function linesOf(findings: readonly Finding[], terminal: Terminal): readonly string[] {
  const paint = paintOf(terminal);
  const marks = {
    ok: paint.good("ok      "),
    warning: paint.doubtful("warning "),
    problem: paint.bad("problem "),
  };
  const count = (level: Finding["level"]): number => findings.filter((each) => each.level === level).length;
  return [
    ...findings.flatMap(({ level, what, todo }) => [
      `${marks[level]} ${what}`,
      ...(todo === "" ? [] : [`         ${paint.faint(`→ ${todo}`)}`]),
    ]),
    "",
    `${counted(count("problem"), "problem")}, ${counted(count("warning"), "warning")}.`,
  ];
}

/** Largest number of services that can be looked for at a time. */
const MOST_KNOWN = 1_000;
const PATIENCE_MS = 5_000;
/** How long to wait for the connection to one node, in milliseconds, unless `--timeout` says otherwise. */
const NODE_MS = 5_000;
/** Largest age of the management plugin's figures. */
const STATISTICS_MS = 6_000;

// Returns the instances of the services whose consumers all answered. Otherwise, an instance that did not answer might have the
// subscription.
function whole(infos: readonly InstanceInfo[], stats: readonly ServiceStats[]): readonly InstanceInfo[] {
  const isWhole = (name: string): boolean => {
    const answered = infos.filter(({ service }) => service === name).length;
    const consumers = stats.find(({ service }) => service === name)?.queues.inbox?.consumers ?? 0;
    return answered >= consumers;
  };
  return infos.filter(({ service }) => isWhole(service));
}

class Examination {
  readonly #services: readonly string[];
  readonly #flags: DoctorFlags;
  readonly #terminal: Terminal;
  readonly #broker: Broker;
  readonly #known: KnownServices;

  constructor(services: readonly string[], flags: DoctorFlags, terminal: Terminal) {
    this.#services = services;
    this.#flags = flags;
    this.#terminal = terminal;
    this.#broker = brokerOf(flags, terminal);
    this.#known = knownServicesAt(this.#broker, terminal);
  }

  get #limits(): ReturnType<typeof limitsOf> {
    return limitsOf(this.#flags, this.#terminal);
  }

  async findings(): Promise<readonly Finding[]> {
    const address = addressOf(this.#flags, this.#terminal);
    const management = this.#management;
    const client = await this.#broker.openClient(this.#limits);
    let about: readonly Finding[];
    try {
      about = [
        ok(`Connected to ${this.#broker.description}, namespace ${this.#broker.namespace}.`),
        ...aboutNodes(await this.#unreachable(address)),
        ...aboutServer(client.server),
        ...aboutAddress(address),
        await this.#permissions(client),
      ];
    } finally {
      await client.close();
    }
    return [...about, ...(await this.#orProblem(() => this.#topology(management)))];
  }

  // Returns the errors of the nodes that accept no connection: services connect to another one, so nothing else reports them.
  async #unreachable(address: string): Promise<readonly ConfluoError[]> {
    const urls = address.split(",");
    if (urls.length === 1) return [];
    const errors = await Promise.all(
      urls.map(async (url) => {
        try {
          const client = await brokerAt(url, undefined, silentLogger).openClient({
            timeoutMs: NODE_MS,
            ...this.#limits,
          });
          await client.close();
          return [];
        } catch (error) {
          if (!isConfluoError(error) || this.#terminal.signal.aborted) throw error;
          return [error];
        }
      }),
    );
    return errors.flat();
  }

  // A failure of one step becomes a finding, so that earlier findings are still reported.
  async #orProblem(step: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
    try {
      return await step();
    } catch (error) {
      if (!isConfluoError(error) || this.#terminal.signal.aborted) throw error;
      return [
        problem(
          error.message,
          "The checks that depend on it were skipped: fix it, and run this command again.",
        ),
      ];
    }
  }

  // Uses two exclusive queues: one named by the broker, as queues for replies are, and one in the namespace.
  async #permissions(client: AmqpClient): Promise<Finding> {
    try {
      const own = { exclusive: true, arguments: { "x-queue-type": "classic" } } as const;
      await client.declareQueue({ name: "", ...own });
      const name = `${this.#broker.namespace}.doctor.${randomBytes(6).toString("hex")}`;
      const queue = await client.declareQueue({ name, ...own });
      let come: () => void = () => undefined;
      const came = new Promise<void>((resolve) => {
        come = resolve;
      });
      await client.consume({
        queue,
        prefetch: "no-ack",
        onDelivery: () => come(),
        onCancelled: () => come(),
      });
      const { timeoutMs = PATIENCE_MS } = this.#limits;
      const patience = wait(Math.min(timeoutMs, PATIENCE_MS), "no confirm in time", {
        signal: this.#limits.signal,
        ref: false,
      });
      const confirm = new Promise<string | undefined>((resolve) => {
        const message = { body: new Uint8Array(0), properties: { mandatory: true } } as const;
        client.publish({ exchange: "", key: queue }, message, (failure, why) =>
          resolve(why?.message.replace(/\.$/, "") ?? failure),
        );
      });
      const failure = await Promise.race([confirm, patience]);
      if (failure !== undefined) {
        if (client.blocked !== undefined)
          return problem(
            `The broker accepts no messages: ${client.blocked}.`,
            "Free its memory or disk: rabbitmq-diagnostics alarms.",
          );
        return problem(`The broker did not accept a message: ${failure}.`, "See the broker's log.");
      }
      if ((await Promise.race([came, patience])) !== undefined)
        return problem("A message that was confirmed was not delivered.", "See the broker's log.");
      return ok("A test message was published and delivered; this user may declare, publish and consume.");
    } catch (error) {
      if (!isConfluoError(error)) throw error;
      return problem(
        error.message,
        "The user needs the rights configure, write and read on the queues and exchanges that docs/operations.md lists.",
      );
    }
  }

  async #topology(management: Management | undefined): Promise<readonly Finding[]> {
    const broker = this.#broker;
    const orphans = await this.#look(`${broker.namespace}.orphans`);
    if (orphans === undefined)
      return [
        warning(
          `No service ever connected in the namespace ${broker.namespace}.`,
          "Is the namespace, and the vhost, the right one?",
        ),
      ];
    const found: Finding[] = [];
    let listed: readonly string[] | undefined;
    found.push(
      ...(await this.#orProblem(async () => {
        listed = await management?.services(broker.namespace);
        return [];
      })),
    );
    const named = [...new Set([...this.#services, ...servicesToLookFor(this.#terminal)])];
    const services = [...new Set([...named, ...(listed ?? [])])].slice(0, MOST_KNOWN);
    const overview = await this.#known.look(broker, { services, ...this.#limits });
    // Starts after the overview, because the check puts messages of its own into the delay queues for a moment.
    const delays = this.#orProblem(() => this.#delays(management));
    const infos = await broker.discover(this.#limits);
    const asked = Date.now();
    found.push(...(await delays));
    const stats = overview.services.filter(({ instances }) => instances.length > 0);
    const silent = overview.services.filter(({ instances }) => instances.length === 0);
    const known = overview.services.filter(({ queues }) => queues.inbox !== undefined);
    found.push(
      ...aboutConflicts("The shared queues and exchanges", await broker.conflicts(undefined, this.#limits)),
    );
    if (orphans === "unknown") found.push(unknownDepth("queues that no longer exist", ["orphans"]));
    const unknown = overview.unknownQueues?.filter((name) => !name.endsWith(".orphans")) ?? [];
    if (unknown.length > 0) found.push(unknownDepth("a retry", unknown));
    if (orphans !== "unknown" && orphans.messages > 0)
      found.push(
        warning(
          `${counted(orphans.messages, "message")} returned to queues that no longer exist.`,
          "confluo dead ls orphans lists them.",
        ),
      );
    for (const service of stats) found.push(...aboutService(service));
    for (const service of silent) found.push(...aboutSilent(service, overview));
    found.push(...aboutMissing(overview, named), ...aboutDelayed(overview));
    if (known.length > 0)
      found.push(
        ...aboutConflicts(
          "The queues of each service",
          await broker.conflicts(
            known.map(({ service }) => service),
            this.#limits,
          ),
        ),
      );
    found.push(...aboutVersions(infos), ...aboutClocks(infos, asked));
    if (management === undefined)
      found.push(
        warning(
          `Looked for ${lookedAt(overview.lookedFor)}. AMQP lists neither services nor bindings, so this did not look for stale bindings, nor for services that are down and that none of these calls, sends to or receives from${this.#known.isKept ? ", and that were not seen from here before" : ""}.`,
          "Name services, here or in CONFLUO_SERVICES, or use --management http://….",
        ),
      );
    else if (listed !== undefined)
      found.push(
        ...(await this.#orProblem(async () => {
          const flags = await management.featureFlags();
          return [
            ...aboutBindings(await management.bindings(broker.namespace), whole(infos, stats)),
            ...aboutPolicies(await management.policies(broker.namespace)),
            ...(flags === undefined ? [] : aboutFeatureFlags(flags)),
          ];
        })),
      );
    return found;
  }

  // Finds stuck delay queues by AMQP and, if possible, the reason by the management plugin.
  async #delays(management: Management | undefined): Promise<readonly Finding[]> {
    const client = await this.#broker.openClient(this.#limits);
    try {
      const { namespace } = this.#broker;
      const queues = management && this.#queues(management).catch(() => undefined);
      return [
        ...aboutDelays(await stalledDelays(client, namespace), await queues),
        ...aboutOldDelays(await oldDelays(client, namespace)),
      ];
    } finally {
      await client.close();
    }
  }

  // Reads the figures again if a delay queue looks stuck, because a burst of messages looks the same but is gone by the second
  // time.
  async #queues(management: Management): Promise<readonly WatchedQueue[]> {
    const { namespace } = this.#broker;
    const first = await management.queues(namespace);
    if (!first.some(isHeldUp)) return first;
    await wait(STATISTICS_MS, undefined, { signal: this.#limits.signal, ref: false });
    const held = new Set(first.filter(isHeldUp).map(({ name }) => name));
    const second = await management.queues(namespace);
    return second.map((queue) => (held.has(queue.name) ? queue : { ...queue, leaving: 0 }));
  }

  get #management(): Management | undefined {
    const address = this.#flags.management ?? this.#terminal.env.CONFLUO_MANAGEMENT;
    return address === undefined ? undefined : new Management(address, this.#terminal.signal);
  }

  async #look(queue: string): Promise<QueueInfo | "unknown" | undefined> {
    try {
      return await this.#broker.queue(queue, this.#limits);
    } catch (error) {
      if (isConfluoError(error, "ACCESS_REFUSED") || isConfluoError(error, "UNAVAILABLE")) return "unknown";
      throw error;
    }
  }
}
