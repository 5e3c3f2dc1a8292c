/** What the tool measures, seen alike by what chooses, runs and shows it: the cases and the probes. */

import type { MeasureOptions } from "./measure.ts";
import type { Description } from "./messages.ts";

/** What one measurement gave, by the keys of the subject's columns. `undefined`: it cannot be known here. */
export type Figures = Readonly<Record<string, number | undefined>>;

/** A figure in the table. */
export interface Column {
  readonly key: string;
  /** With the unit. */
  readonly title: string;
  /** Behind the point. */
  readonly digits: number;
  /** Shown for what is not known. Default: a dash. */
  readonly unknown?: string;
  /** Whether the difference between the rounds is shown beside it. */
  readonly spread?: true;
  /** The variant that the others are compared with, beside it. */
  readonly yardstick?: string;
}

/** Something measured in the same way for each of its variants. */
export interface Subject {
  readonly name: string;
  readonly title: string;
  readonly quick: boolean;
  /** Measured only if it is named, and once, because it takes minutes. */
  readonly onDemand?: true;
  /** Names, in the order of the table. */
  readonly variants: readonly string[];
  /** The kind of load that a variant must be able to carry, if it is one of `variants/`. */
  readonly needs: Description["loads"][number] | undefined;
  readonly needsBroker: boolean;
  readonly columns: readonly Column[];
  /** How long one measurement takes, about. */
  expectSeconds(seconds: number): number;
  measure(variant: string, options: MeasureOptions): Promise<Figures>;
}
