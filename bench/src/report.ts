/** The results of a run, as they are shown and kept. */

import type { Machine } from "./machine.ts";
import type { Description } from "./messages.ts";
import type { Result } from "./run.ts";
import { median } from "./statistics.ts";
import type { Column, Figures } from "./subject.ts";

export interface Row {
  readonly variant: string;
  /** Each figure's median. Empty if there was no round. */
  readonly medians: Figures;
  /** As measured, by round. */
  readonly rounds: readonly Figures[];
  /** Why the variant failed, if it did. */
  readonly failure?: string;
}

export interface Section {
  readonly name: string;
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
}

export interface Report {
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  /** Whether it was ended early. */
  readonly interrupted: boolean;
  readonly machine: Machine;
  readonly settings: { readonly rounds: number; readonly seconds: number };
  /** By name. */
  readonly variants: Readonly<Record<string, Pick<Description, "title" | "settings">>>;
  readonly sections: readonly Section[];
}

/** Results of the same subject become a section, in the order in which they come. */
export function makeSections(results: readonly Result[]): readonly Section[] {
  const subjects = [...new Set(results.map(({ subject }) => subject))];
  return subjects.map((subject) => {
    const { name, title, columns } = subject;
    const rows = results
      .filter((result) => result.subject === subject)
      .map(({ variant, rounds, failure }) => ({
        variant,
        medians: takeMedians(columns, rounds),
        rounds,
        ...(failure === undefined ? {} : { failure }),
      }));
    return { name, title, columns, rows };
  });
}

function takeMedians(columns: readonly Column[], rounds: readonly Figures[]): Figures {
  return Object.fromEntries(
    columns.flatMap(({ key }) => {
      const values = valuesOf(rounds, key);
      return values.length === 0 ? [] : [[key, median(values)]];
    }),
  );
}

/** What is known of a figure. */
export function valuesOf(rounds: readonly Figures[], key: string): readonly number[] {
  return rounds.map((round) => round[key]).filter((value) => value !== undefined);
}

/** As JSON, with as many digits as mean anything. */
export function formatJson(report: object): string {
  const round = (_: string, value: unknown): unknown =>
    typeof value === "number" ? Number(value.toPrecision(6)) : value;
  return `${JSON.stringify(report, round, 2)}\n`;
}
