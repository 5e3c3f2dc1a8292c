import { describe, it } from "vitest";
import { Broker } from "../../src/index.ts";
import { conformance } from "../../src/testing/index.ts";
import { callingTopics } from "./calling-topics.ts";

conformance(
  { describe, it },
  {
    name: "the embedded broker, gathering whatever it can",
    open: async () => {
      const broker = new Broker("memory:");
      broker.gathersEagerly = true;
      return { broker, close: async () => undefined };
    },
  },
  callingTopics,
);
