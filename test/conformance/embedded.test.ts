import { describe, it } from "vitest";
import { Broker } from "../../src/index.ts";
import { conformance } from "../../src/testing/index.ts";

conformance(
  { describe, it },
  {
    name: "the embedded broker",
    open: async () => ({ broker: new Broker("memory:"), close: async () => undefined }),
  },
);
