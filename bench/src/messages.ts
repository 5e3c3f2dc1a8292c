/** What the measuring process and the programs that it measures tell each other. */

import type { Load } from "./case.ts";
import type { Surroundings, Variant } from "./variants/variant.ts";

/** What a program shall be. */
export interface Role {
  readonly variant: string;
  readonly surroundings: Surroundings;
  /** A handler of this service, or the requester. */
  readonly service: string | undefined;
}

export type ToWorker =
  | { readonly kind: "begin"; readonly role: Role }
  /** To a requester: send for so long. */
  | { readonly kind: "load"; readonly load: Load; readonly ms: number }
  /** To a handler: tell when so many have been handled since the last time. */
  | { readonly kind: "count"; readonly until: number }
  | { readonly kind: "cpu" }
  /** To a requester: begin so many calls at once and wait for none of them. */
  | { readonly kind: "hold"; readonly count: number; readonly calls: "real" | "none" }
  /** To a requester: begin so many calls at once and tell what had become of them by then. */
  | { readonly kind: "volley"; readonly count: number; readonly withinMs: number }
  /** How much memory is in use, after a collection. Only with Node's `--expose-gc`. */
  | { readonly kind: "heap" }
  /** What this variant says of itself. */
  | { readonly kind: "describe"; readonly variant: string }
  | { readonly kind: "end" };

/** What a variant says of itself. */
export interface Description extends Pick<Variant, "title" | "settings" | "loads"> {
  readonly needs: Variant["needs"] | undefined;
  /** Names of cases that it does not do. */
  readonly refuses: readonly string[];
}

/** What has become of calls. */
export interface Outcomes {
  readonly answered: number;
  readonly failed: number;
  /** Neither, until then. */
  readonly hung: number;
  /** When the last outcome was known, in milliseconds from the beginning. */
  readonly lastMs: number;
}

/** What a requester has seen. Times are milliseconds since the epoch. */
export interface Sent {
  readonly count: number;
  readonly beganAt: number;
  readonly endedAt: number;
  /** Milliseconds, of each call or of a sample of them. */
  readonly latencies: Float64Array;
}

export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "sent"; readonly sent: Sent }
  | { readonly kind: "counted"; readonly at: number }
  /** CPU time that the process has used so far, in microseconds. */
  | { readonly kind: "cpu"; readonly us: number }
  | { readonly kind: "held" }
  | { readonly kind: "outcomes"; readonly outcomes: Outcomes }
  | { readonly kind: "heap"; readonly bytes: number }
  | { readonly kind: "description"; readonly description: Description }
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly reason: string };
