import { describe, expect, it } from "vitest";
import * as contract from "./contract/index.ts";
import * as confluo from "./index.ts";
import * as testing from "./testing/index.ts";

describe("the public names", () => {
  it("are these, and change knowingly", () => {
    expect({
      confluo: Object.keys(confluo).sort(),
      contract: Object.keys(contract).sort(),
      testing: Object.keys(testing).sort(),
    }).toEqual({
      confluo: [
        "Broker",
        "ConfluoError",
        "RemoteError",
        "Service",
        "ServiceError",
        "command",
        "consoleLogger",
        "diagnosticsChannels",
        "event",
        "isConfluoError",
        "mergeDurations",
        "quantile",
        "silentLogger",
        "stateKey",
      ],
      contract: ["ConfluoError", "RemoteError", "ServiceError", "command", "event", "isConfluoError"],
      testing: ["conformance", "eventually"],
    });
  });
});
