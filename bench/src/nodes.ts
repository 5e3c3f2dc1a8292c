/** Several Nodes, so that what is measured runs on each of them in the same run. */

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Chosen } from "./selection.ts";
import type { Subject } from "./subject.ts";

/** A Node that programs are started with. */
export interface NodeProgram {
  readonly path: string;
  /** Such as `24.11.0`. */
  readonly version: string;
}

/** @throws for what is no Node, with its path. */
export function findNodes(paths: readonly string[]): Promise<readonly NodeProgram[]> {
  return Promise.all(
    paths.map(async (path) => {
      try {
        const { stdout } = await promisify(execFile)(path, ["-p", "process.versions.node"]);
        return { path, version: stdout.trim() };
      } catch (error) {
        const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
        throw new Error(`--node ${path} cannot be started as a Node: ${reason}`);
      }
    }),
  );
}

/** Has each variant measured on each Node, in turns. Ratios are to the yardstick on the first of them. */
export function onEachNode(
  chosen: readonly Chosen<Subject>[],
  nodes: readonly NodeProgram[],
): readonly Chosen<Subject>[] {
  const [first] = nodes;
  if (first === undefined) return chosen;
  const labelOf = (variant: string, node: NodeProgram): string => {
    const alike = nodes.filter(({ version }) => version === node.version);
    const which = alike.length === 1 ? "" : ` (${alike.indexOf(node) + 1})`;
    return `${variant} on ${node.version}${which}`;
  };
  return chosen.map(({ subject, variants }) => {
    const pairs = variants.flatMap((variant) =>
      nodes.map((node) => [labelOf(variant, node), { variant, node }] as const),
    );
    const labelled = new Map(pairs);
    const names = pairs.map(([name]) => name);
    return {
      subject: {
        ...subject,
        variants: names,
        columns: subject.columns.map((column) =>
          column.yardstick === undefined
            ? column
            : { ...column, yardstick: labelOf(column.yardstick, first) },
        ),
        measure: (name, options) => {
          const { variant = name, node } = labelled.get(name) ?? {};
          return subject.measure(variant, node === undefined ? options : { ...options, node: node.path });
        },
      },
      variants: names,
    };
  });
}
