/** All processes of a torture, the proxies between them and the broker, and the faults that befall them. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { type Disturbances, theBroker } from "./disturbances.ts";
import { describeFault, type Fault, type FaultKind, type NodeFault } from "./faults.ts";
import { Member, type MemberSpec, type MemberSurroundings } from "./member.ts";
import type { WardenMessage } from "./warden.ts";

const startTimeoutMs = 60_000;
/** After the last fault everything has to be well again by then. */
const settleTimeoutMs = 120_000;

/** What can be done to the broker under the fleet; nothing to one that others own. */
export interface BrokerFaults {
  /** Ends a single broker and starts it again. */
  readonly restart?: ((signal: "SIGKILL" | "SIGTERM") => Promise<void>) | undefined;
  /** Resolves when the node is back and the cluster is whole. */
  readonly strike?: ((fault: NodeFault) => Promise<void>) | undefined;
}

export interface FleetOptions {
  readonly specs: readonly MemberSpec[];
  readonly brokerUrls: readonly string[];
  readonly brokerFaults: BrokerFaults;
  readonly disturbances: Disturbances;
  readonly surroundings: Omit<MemberSurroundings, "onStarted" | "onEnded" | "onPoisoned">;
}

/** Starts nothing but the warden and the proxies: then it is the members' turn. */
export async function openFleet(options: FleetOptions): Promise<Fleet> {
  const warden = fork(join(import.meta.dirname, "warden.ts"), [], {
    cwd: join(import.meta.dirname, "..", ".."),
    execArgv: ["--import", "tsx"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    detached: true,
    env: { ...process.env, TSX_DISABLE_CACHE: "1" },
  });
  const tell = (message: WardenMessage): void => {
    if (warden.connected) warden.send(message);
  };
  tell({ folder: options.surroundings.scratch });
  const members: Member[] = [];
  for (const spec of options.specs) {
    const proxies = options.brokerUrls.map((url) => new TcpProxy(undefined, url));
    const urls = await Promise.all(proxies.map((proxy) => proxy.listen()));
    const member = new Member(
      spec,
      { proxies, urls },
      {
        ...options.surroundings,
        onStarted: (pid) => tell({ started: pid }),
        onEnded: (pid) => tell({ ended: pid }),
        onPoisoned: (name) => options.disturbances.begin(name, "poisoned"),
      },
    );
    members.push(member);
  }
  return new Fleet(members, warden, options);
}

export class Fleet {
  readonly #members: readonly Member[];
  readonly #warden: ChildProcess;
  readonly #options: FleetOptions;
  readonly #underWay = new Set<Promise<void>>();
  #brokerBusy = false;
  /** Faults that happened. */
  readonly counts = new Map<FaultKind, number>();
  /** Faults that were due while their process or the broker still had another. */
  skipped = 0;

  constructor(members: readonly Member[], warden: ChildProcess, options: FleetOptions) {
    this.#members = members;
    this.#warden = warden;
    this.#options = options;
  }

  /** Consumers first: an event counts for a service only once that has subscribed. */
  async start(): Promise<void> {
    for (const program of ["consumer", "publisher"] as const) {
      const members = this.#members.filter(({ spec }) => spec.program === program);
      for (const member of members) member.start();
      const late = sleep(startTimeoutMs, undefined, { ref: false }).then(() => {
        throw new Error(`The ${program}s did not connect in ${startTimeoutMs / 1_000} s.`);
      });
      await Promise.race([Promise.all(members.map(({ ready }) => ready)), late]);
    }
  }

  /** @returns whether it happened: a process has one fault at a time. */
  apply(fault: Fault): boolean {
    const happens = this.#begin(fault);
    if (happens) this.counts.set(fault.kind, (this.counts.get(fault.kind) ?? 0) + 1);
    else this.skipped += 1;
    return happens;
  }

  /** Resolves when no fault is under way any more and all processes are of the new version and connected. */
  async settle(): Promise<void> {
    const late = new AbortController();
    const limit = sleep(settleTimeoutMs, undefined, { ref: false, signal: late.signal }).then(
      () => this.#options.surroundings.onProblem("the faults did not come to an end in time"),
      () => undefined,
    );
    await Promise.race([limit, this.#settle()]);
    late.abort();
  }

  async #settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    await Promise.all(
      this.#members.map(async (member) => {
        if (member.spec.deployed === "late") {
          const isOver = this.#options.disturbances.begin(member.spec.name, "deployed");
          await member.deploy();
          isOver();
        }
        await member.ready;
      }),
    );
  }

  /** Ends the publishers when all that they asked has settled. */
  async finishPublishers(): Promise<void> {
    const publishers = this.#members.filter(({ spec }) => spec.program === "publisher");
    await Promise.all(publishers.map((member) => member.leave("finish")));
  }

  async leave(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.leave()));
  }

  /** Ends whatever is left, and removes what it leaves behind. */
  async close(): Promise<void> {
    // A member that comes back from a fault meanwhile is ended as well.
    await Promise.all(this.#members.map((member) => member.end()));
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    await Promise.all(this.#members.map((member) => member.end()));
    await Promise.all(this.#members.flatMap(({ proxies }) => proxies.map((proxy) => proxy.close())));
    if (this.#warden.exitCode !== null || this.#warden.signalCode !== null) return;
    const exited = once(this.#warden, "exit");
    if (this.#warden.connected) this.#warden.disconnect();
    await exited;
  }

  #begin(fault: Fault): boolean {
    switch (fault.kind) {
      case "kill":
        return this.#befall(fault, (member) => member.kill(fault.awayMs));
      case "terminate":
        return this.#befall(fault, (member) => member.terminate(fault.awayMs));
      case "pause":
        return this.#befall(fault, (member) => member.pause(fault.lastsMs));
      case "stall":
        return this.#befall(fault, (member) => member.stall(fault.lastsMs));
      case "mute":
        return this.#befall(fault, (member) => member.mute(fault.lastsMs));
      case "cut":
        return this.#befall(fault, async (member) => member.cut());
      case "burst":
        this.#members.find(({ spec }) => spec.name === fault.member)?.burst(fault.count);
        return true;
      case "cut all":
        for (const member of this.#members) {
          const isOver = this.#options.disturbances.begin(member.spec.name, fault.kind);
          member.cut();
          isOver();
        }
        return true;
      case "kill broker":
        return this.#restartBroker(fault, "SIGKILL");
      case "stop broker":
        return this.#restartBroker(fault, "SIGTERM");
      case "kill node":
      case "stop node":
      case "isolate node":
      case "cut node": {
        const { strike } = this.#options.brokerFaults;
        return strike !== undefined && this.#befallBroker(fault, () => strike(fault));
      }
      default:
        return fault satisfies never;
    }
  }

  #befall(fault: Fault & { readonly member: string }, work: (member: Member) => Promise<void>): boolean {
    const member = this.#members.find(({ spec }) => spec.name === fault.member);
    if (member === undefined || member.busy) return false;
    member.busy = true;
    const isOver = this.#options.disturbances.begin(fault.member, describeFault(fault));
    this.#track(
      work(member).finally(() => {
        member.busy = false;
        void member.ready.then(isOver);
      }),
    );
    return true;
  }

  #restartBroker(fault: Fault, signal: "SIGKILL" | "SIGTERM"): boolean {
    const { restart } = this.#options.brokerFaults;
    return restart !== undefined && this.#befallBroker(fault, () => restart(signal));
  }

  #befallBroker(fault: Fault, work: () => Promise<void>): boolean {
    const { disturbances, surroundings } = this.#options;
    if (this.#brokerBusy) return false;
    this.#brokerBusy = true;
    const isOver = disturbances.begin(theBroker, describeFault(fault));
    this.#track(
      work()
        .catch((error: unknown) => surroundings.onProblem(`the broker did not come back: ${error}`))
        .finally(() => {
          isOver();
          this.#brokerBusy = false;
        }),
    );
    return true;
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
  }
}
