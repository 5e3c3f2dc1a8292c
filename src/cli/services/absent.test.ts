import { describe, expect, it } from "vitest";
import type { Overview, ServiceStats } from "../../index.ts";
import { aboutDelayed, aboutMissing, aboutSilent, lookedAt } from "./absent.ts";
import { idleService } from "./service-stats.test-support.ts";

const nobody = idleService("mail");
const web: ServiceStats = {
  ...nobody,
  service: "web",
  calls: [{ service: "mail", count: 1 }, { count: 2 }],
  sends: [
    { service: "mail", path: "/a", count: 3 },
    { service: "maul", count: 1 },
  ],
};
const overview = (own: Partial<Overview> = {}): Overview => ({
  services: [web],
  missing: [],
  lookedFor: [],
  delays: [],
  delayed: [],
  orphans: undefined,
  ...own,
});

describe("a service for which nobody answers", () => {
  it("is a problem if nobody consumes its inbox either, and it is said who needs it", () => {
    const inbox = { messages: 300, consumers: 0 };
    expect(aboutSilent({ ...nobody, queues: { ...nobody.queues, inbox } }, overview())).toMatchObject([
      {
        level: "problem",
        what: "Nobody consumes the inbox queue of mail; 300 wait. web calls and sends to it.",
      },
    ]);
  });

  it("is a warning if someone does, or if only its letters are left", () => {
    const inbox = { messages: 0, consumers: 1 };
    const [busy] = aboutSilent({ ...nobody, queues: { ...nobody.queues, inbox } }, overview());
    expect(busy).toMatchObject({ level: "warning", what: "mail consumes its queues but does not answer." });
    const dead = { messages: 1, consumers: 0 };
    const gone = aboutSilent({ ...nobody, queues: { ...nobody.queues, dead } }, overview());
    expect(gone.map(({ level }) => level)).toEqual(["warning", "warning"]);
  });

  it("and of which there is nothing is a wrong name if someone gave it, else a warning", () => {
    const found = aboutMissing(overview({ missing: ["maul", "nowhere"] }), ["nowhere"]);
    expect(found).toMatchObject([
      { level: "warning", what: "There is no service maul, but web sends to it, or did so before." },
      { level: "problem", what: "There is no service nowhere." },
    ]);
  });
});

it("what waits to be tried again is a warning, with its handlers; what nobody knows of, too", () => {
  expect(aboutDelayed(overview())).toEqual([]);
  const counts = { handled: 0, refused: 0, failed: 50, retried: 50, deadLettered: 0, inFlight: 0 };
  const recent = { ms: 5_000, handled: 0, refused: 0, failed: 0, durations: [] };
  const placed = { ...counts, path: "/placed", waiting: 50, durations: [], recent, senders: [] };
  const orders = { ...nobody, service: "orders", routes: [placed], unclaimed: 1 };
  const delays = [{ name: "n.delay.4000", ms: 4_000, messages: 151 }];
  expect(aboutDelayed(overview({ services: [orders], delays })).map(({ what }) => what)).toEqual([
    "50 messages of orders failed and will be retried: /placed 50.",
    "1 message of orders waits for an instance that has a handler: those that received them have none.",
    "100 messages more in delay queues (n.delay.4000 151): none of the instances that answer has put them there.",
  ]);
});

it("says what was looked at", () => {
  expect(lookedAt([])).toBe("no service");
  expect(lookedAt(["a"])).toBe("a");
  expect(lookedAt(["a", "b", "c"])).toBe("a, b and c");
  expect(lookedAt(Array.from({ length: 20 }, (_, n) => `s${n}`))).toMatch(/^s0, .*, s11 and 8 more$/);
});
