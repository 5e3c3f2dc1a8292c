/** What the measuring process and the programs that it measures tell each other. */

import type { Surroundings } from "./variants/variant.ts";

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
  | { readonly kind: "load"; readonly ms: number }
  /** To a handler: tell when so many have been handled since the last time. */
  | { readonly kind: "count"; readonly until: number }
  | { readonly kind: "cpu" }
  | { readonly kind: "end" };

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
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly reason: string };
