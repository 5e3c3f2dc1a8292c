import { describe, expect, it } from "vitest";
import { idleService } from "../cli/services/service-stats.test-support.ts";
import type { Overview, OverviewOptions, ServiceStats } from "../index.ts";
import { changeNames, KnownServices, MOST_NAMES, type NameChange, type NameStore } from "./known-services.ts";

const queue = { messages: 0, consumers: 0 };

function withInbox(name: string): ServiceStats {
  const idle = idleService(name);
  return { ...idle, queues: { ...idle.queues, inbox: queue } };
}

/** A broker at which some services are found, and nothing of the others that it is asked for. */
class FakeBroker {
  services: readonly ServiceStats[] = [];
  readonly asked: (readonly string[])[] = [];

  overview({ services: wanted = [] }: OverviewOptions = {}): Promise<Overview> {
    this.asked.push(wanted);
    const found = new Set(this.services.map(({ service }) => service));
    const used = this.services.flatMap(({ calls }) => calls.flatMap(({ service }) => service ?? []));
    const missing = [...new Set([...wanted, ...used])].filter((name) => !found.has(name)).sort();
    const lookedFor = [...found, ...missing].sort();
    return Promise.resolve({
      services: this.services,
      missing,
      lookedFor,
      delays: [],
      delayed: [],
      orphans: undefined,
    });
  }
}

class FakeStore implements NameStore {
  names: readonly string[];
  isKept = true;

  constructor(...names: readonly string[]) {
    this.names = names;
  }

  read(): readonly string[] {
    return this.names;
  }

  write(change: NameChange): void {
    this.names = changeNames(this.names, change);
  }
}

describe("names that are known", () => {
  it("have those that were seen last at the end, and lose the first ones when they are too many", () => {
    expect(changeNames(["a", "b", "c"], { seen: ["a", "d"], gone: ["b"] })).toEqual(["c", "a", "d"]);
    const many = Array.from({ length: MOST_NAMES }, (_, n) => `s${n}`);
    const more = changeNames(many, { seen: ["s0", "new"] });
    expect(more).toHaveLength(MOST_NAMES);
    expect(more.slice(0, 1)).toEqual(["s2"]);
    expect(more.slice(-2)).toEqual(["s0", "new"]);
  });

  it("are names of services, whatever is in a store", () => {
    const odd = [
      "",
      "a.b",
      "a b",
      "#",
      7,
      null,
      { name: "x" },
      "x".repeat(181),
      "\u001b[2J",
      "good",
      "__proto__",
    ];
    expect(changeNames(odd, { seen: ["no/name"] })).toEqual(["good", "__proto__"]);
  });
});

describe("services that were seen before", () => {
  it("are looked for after those that are given, and found", async () => {
    const broker = new FakeBroker();
    const known = new KnownServices(new FakeStore("stock", "mail"));
    broker.services = [withInbox("mail"), withInbox("stock")];
    const overview = await known.look(broker, { services: ["orders", "mail"] });
    expect(broker.asked).toEqual([["orders", "mail", "stock"]]);
    expect(overview.services.map(({ service }) => service)).toEqual(["mail", "stock"]);
    expect(overview.missing).toEqual(["orders"]);
  });

  it("are learnt from what was found with queues, for others too that share the store", async () => {
    const broker = new FakeBroker();
    const store = new FakeStore();
    const letters = idleService("letters");
    const refused = idleService("refused");
    const [instance] = [{ service: "caller" }] as unknown as ServiceStats["instances"];
    broker.services = [
      withInbox("mail"),
      { ...letters, queues: { ...letters.queues, dead: queue } },
      { ...idleService("caller"), instances: instance === undefined ? [] : [instance] },
      { ...refused, unknownQueues: ["inbox"] },
      {
        ...refused,
        service: "answers",
        instances: instance === undefined ? [] : [instance],
        unknownQueues: ["inbox"],
      },
    ];
    const known = new KnownServices(store);
    await known.look(broker);
    known.learn([withInbox("shown")]);
    known.learnNames(["named"]);
    expect(store.names).toEqual(["mail", "letters", "answers", "shown", "named"]);
    broker.services = [];
    await known.look(broker);
    await new KnownServices(store).look(broker);
    expect(broker.asked.slice(1).map((names) => names.length)).toEqual([5, 0]);
  });

  it("are forgotten and not told of when there is nothing of them any more", async () => {
    const broker = new FakeBroker();
    const store = new FakeStore("mail", "stock");
    const known = new KnownServices(store);
    expect(await known.look(broker)).toMatchObject({ missing: [], lookedFor: [] });
    expect(store.names).toEqual([]);
    await known.look(broker);
    expect(broker.asked.at(-1)).toEqual([]);
  });

  it("are told of as missing if they are given, or used by one that answers", async () => {
    const broker = new FakeBroker();
    const known = new KnownServices(new FakeStore("mail", "stock", "old"));
    broker.services = [{ ...withInbox("web"), calls: [{ service: "stock", count: 1 }] }];
    const overview = await known.look(broker, { services: ["mail"] });
    expect(overview).toMatchObject({ missing: ["mail", "stock"], lookedFor: ["mail", "stock", "web"] });
  });

  it("stay known while their queues may not be looked at, and if the look fails", async () => {
    const broker = new FakeBroker();
    const store = new FakeStore("mail");
    const known = new KnownServices(store);
    broker.services = [{ ...idleService("mail"), unknownQueues: ["inbox"] }];
    expect((await known.look(broker)).services).toHaveLength(1);
    const overview = (): Promise<Overview> => Promise.reject(new Error("the connection broke"));
    await expect(known.look({ overview })).rejects.toThrow("broke");
    expect(store.names).toEqual(["mail"]);
  });

  it("leave room for those that are given, and are no more than can be asked for", async () => {
    const broker = new FakeBroker();
    const names = Array.from({ length: MOST_NAMES }, (_, n) => `s${n}`);
    await new KnownServices(new FakeStore(...names)).look(broker, { services: ["mail", "s1"] });
    const [asked = []] = broker.asked;
    expect(asked).toHaveLength(MOST_NAMES);
    expect(asked.slice(0, 3)).toEqual(["mail", "s1", `s${MOST_NAMES - 1}`]);
    expect(asked).not.toContain("s0");
  });

  it("are known to one object alone without a store", async () => {
    const broker = new FakeBroker();
    broker.services = [withInbox("mail")];
    const known = new KnownServices();
    await known.look(broker);
    await known.look(broker);
    expect(broker.asked.at(-1)).toEqual(["mail"]);
    known.forget("mail");
    await known.look(broker);
    expect(broker.asked.at(-1)).toEqual([]);
    expect(known.isKept).toBe(false);
  });
});
