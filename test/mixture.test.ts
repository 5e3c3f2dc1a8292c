/**
 * Instances of one service that are not alike: an earlier build, this one and plain AMQP programs, under load from callers
 * of both builds, while instances come and go.
 */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { buildRevision, type Revision } from "../scripts/revision.mjs";
import { terminate } from "./support/forked.ts";
import { deleteNamespace, freshBroker, testBrokerUrl } from "./support/rabbitmq.ts";

/** The earliest build that this one must work beside. */
const EARLIER = "7fd9935";
const STEP_MS = 700;

const root = join(import.meta.dirname, "..");
let earlier: Revision;
const cleanUp: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  earlier = await buildRevision(EARLIER, { log: () => undefined });
}, 300_000);

afterAll(() => earlier.remove());

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

type Build = "earlier" | "this" | "plain";

async function start(program: string, build: Build, namespace: string): Promise<ChildProcess> {
  const folder = build === "earlier" ? earlier.folder : build === "this" ? root : build;
  const child = fork(join(root, "test", "processes", program), [folder, testBrokerUrl(), namespace]);
  cleanUp.push(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  });
  await once(child, "message");
  return child;
}

interface Told {
  readonly answered: number;
  readonly wrong: Readonly<Record<string, number>>;
}

async function finish(caller: ChildProcess): Promise<Told> {
  const told = once(caller, "message");
  caller.send("stop");
  const [message] = await told;
  return message as Told;
}

it.each([
  { caller: "this", builds: ["this", "plain"] },
  { caller: "this", builds: ["earlier", "this"] },
  { caller: "this", builds: ["earlier", "plain"] },
  { caller: "earlier", builds: ["earlier", "this"] },
  { caller: "earlier", builds: ["this", "plain"] },
] as const)(
  "answers every call of $caller build's callers by instances of $builds that come and go",
  async ({ caller, builds }) => {
    const { namespace } = freshBroker();
    cleanUp.push(() => deleteNamespace(namespace, ["worker"]));
    const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, STEP_MS));
    const [first, second] = builds;
    let present = await start("release-worker.mjs", first, namespace);
    const calling = await start("release-caller.mjs", caller, namespace);
    // Each alone, then both, then the other alone, and back.
    for (const build of [second, first, second]) {
      await pause();
      const next = await start("release-worker.mjs", build, namespace);
      await pause();
      expect(await terminate(present)).toBe(0);
      present = next;
    }
    await pause();
    const { answered, wrong } = await finish(calling);
    expect(wrong).toEqual({});
    expect(answered).toBeGreaterThan(100);
  },
  60_000,
);
