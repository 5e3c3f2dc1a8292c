/** All processes of a torture, the proxies between them and the broker, and the faults that befall them. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TcpProxy } from "../support/tcp-proxy.ts";
import type { Fault, FaultKind } from "./faults.ts";
import { Member, type MemberSpec, type MemberSurroundings } from "./member.ts";
import type { Stretch } from "./stalls.ts";
import type { WardenMessage } from "./warden.ts";

const startTimeoutMs = 60_000;

export interface FleetOptions {
  readonly specs: readonly MemberSpec[];
  readonly brokerUrls: readonly string[];
  readonly restartBroker: ((signal: "SIGKILL" | "SIGTERM") => Promise<void>) | undefined;
  readonly surroundings: Omit<MemberSurroundings, "onStarted" | "onEnded">;
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
    warden.send(message);
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
  readonly brokerDown: Stretch[] = [];

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

  /** Resolves when no fault is under way any more. */
  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
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
    await this.settle().catch(() => undefined);
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
        return this.#befall(fault.member, (member) => member.kill(fault.awayMs));
      case "terminate":
        return this.#befall(fault.member, (member) => member.terminate(fault.awayMs));
      case "pause":
        return this.#befall(fault.member, (member) => member.pause(fault.lastsMs));
      case "mute":
        return this.#befall(fault.member, (member) => member.mute(fault.lastsMs));
      case "cut":
        return this.#befall(fault.member, async (member) => member.cut());
      case "cut all":
        for (const member of this.#members) member.cut();
        return true;
      case "kill broker":
        return this.#restartBroker("SIGKILL");
      case "stop broker":
        return this.#restartBroker("SIGTERM");
      default:
        return fault satisfies never;
    }
  }

  #befall(name: string, work: (member: Member) => Promise<void>): boolean {
    const member = this.#members.find(({ spec }) => spec.name === name);
    if (member === undefined || member.busy) return false;
    member.busy = true;
    this.#track(
      work(member).finally(() => {
        member.busy = false;
      }),
    );
    return true;
  }

  #restartBroker(signal: "SIGKILL" | "SIGTERM"): boolean {
    const { restartBroker, surroundings } = this.#options;
    if (restartBroker === undefined || this.#brokerBusy) return false;
    this.#brokerBusy = true;
    const from = Date.now() - surroundings.settings.epoch;
    this.#track(
      restartBroker(signal)
        .catch((error: unknown) => surroundings.onProblem(`the broker did not come back: ${error}`))
        .finally(() => {
          this.brokerDown.push({ from, to: Date.now() - surroundings.settings.epoch });
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
