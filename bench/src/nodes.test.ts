import { describe, expect, it } from "vitest";
import { findNodes, onEachNode } from "./nodes.ts";
import type { Subject } from "./subject.ts";

const nodes = [
  { path: "/old/node", version: "20.1.0" },
  { path: "/new/node", version: "24.1.0" },
];

function subject(measured: string[]): Subject {
  return {
    name: "calls-1",
    title: "calls",
    quick: true,
    variants: ["raw", "confluo"],
    needs: "calls",
    needsBroker: true,
    columns: [{ key: "perSecond", title: "msg/s", digits: 0, yardstick: "raw" }],
    expectSeconds: (seconds) => seconds,
    measure: async (variant, { node }) => {
      measured.push(`${variant} ${node}`);
      return {};
    },
  };
}

describe("several Nodes", () => {
  it("measure each variant, beside the yardstick on the first of them", async () => {
    const measured: string[] = [];
    const [chosen] = onEachNode([{ subject: subject(measured), variants: ["confluo"] }], nodes);
    expect(chosen?.variants).toEqual(["confluo on 20.1.0", "confluo on 24.1.0"]);
    expect(chosen?.subject.columns[0]?.yardstick).toBe("raw on 20.1.0");
    for (const variant of chosen?.variants ?? []) await chosen?.subject.measure(variant, {} as never);
    expect(measured).toEqual(["confluo /old/node", "confluo /new/node"]);
  });

  it("of the same version are told apart", async () => {
    const measured: string[] = [];
    const twins = nodes.map(({ path }) => ({ path, version: "24.1.0" }));
    const [chosen] = onEachNode([{ subject: subject(measured), variants: ["raw"] }], twins);
    for (const variant of chosen?.variants ?? []) await chosen?.subject.measure(variant, {} as never);
    expect(measured).toEqual(["raw /old/node", "raw /new/node"]);
  });

  it("are found with their versions", async () => {
    expect(await findNodes([process.execPath])).toEqual([
      { path: process.execPath, version: process.versions.node },
    ]);
    await expect(findNodes(["/nowhere/node"])).rejects.toThrow(/--node \/nowhere\/node cannot be started/);
  });

  it("change nothing where none is named", () => {
    const chosen = [{ subject: subject([]), variants: ["raw"] }];
    expect(onEachNode(chosen, [])).toBe(chosen);
  });
});
