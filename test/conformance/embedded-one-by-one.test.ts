import { describe, it } from "vitest";
import { Broker } from "../../src/index.ts";
import { conformance } from "../../src/testing/index.ts";
import { callingTopics } from "./calling-topics.ts";

conformance(
  { describe, it },
  {
    name: "the embedded broker, with calls one by one",
    serviceOptions: { batching: { maxCalls: 1 } },
    open: async () => ({ broker: new Broker("memory:"), close: async () => undefined }),
  },
  callingTopics,
);
