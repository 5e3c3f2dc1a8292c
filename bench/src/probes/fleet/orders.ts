/** The orders that the programs of a fleet obey. */

import type { Shape } from "./shapes.ts";

/** What a program does, by the name of the order: takes a value, and resolves with another. */
export interface Orders {
  /** To a member: connects one instance of each service. */
  connect: (services: readonly string[]) => Promise<void>;
  /** To a member: what it has used so far, after a garbage collection. */
  usage: () => Promise<Usage>;
  /** To a member: waits so many milliseconds for all of its instances to be healthy. Resolves with how many are not. */
  untilHealthy: (withinMs: number) => Promise<number>;
  /** To a member: which of its instances handled the event with this number, and when the last of them began. */
  heard: (event: number) => Promise<Heard>;
  /** To a member: the numbers of the commands that it has handled, as often as it has. */
  handled: () => Promise<readonly number[]>;
  /** To the sender: publishes the event with this number. Resolves with the time before that. */
  announce: (event: number) => Promise<number>;
  /** To the sender: sends commands and makes calls until told to stop. */
  load: (load: Load) => Promise<void>;
  /** To the sender: stops, and waits for all outcomes. */
  stop: () => Promise<Outcomes>;
}

/** The argument of a member, as JSON. */
export interface MemberRole extends Pick<Shape, "ownConnections" | "serves"> {
  /** The addresses over which the services are spread. */
  readonly urls: readonly string[];
  readonly namespace: string;
  /** So many of its instances connect at a time. */
  readonly atATime: number;
}

export interface Usage {
  readonly cpuMs: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
}

export interface Heard {
  readonly count: number;
  /** Milliseconds since 1970, with fractions; 0 if none did. */
  readonly lastAt: number;
}

export interface Load {
  readonly services: readonly string[];
  /** Of each kind. */
  readonly perSecond: number;
}

export interface Outcomes {
  /** The numbers of the commands that the broker confirmed. */
  readonly confirmed: readonly number[];
  /** The numbers of those that were rejected. They may have arrived. */
  readonly rejected: readonly number[];
  readonly answered: number;
  readonly failed: number;
  /** How many commands and calls ended with which code. */
  readonly codes: Readonly<Record<string, number>>;
}

/** Returns the time as it can be compared between the processes of a machine: milliseconds since 1970. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

interface Order {
  readonly id: number;
  readonly name: keyof Orders;
  readonly value: unknown;
}

/** The answer to an order. */
export interface Obeyed {
  readonly id: number;
  readonly result?: unknown;
  readonly failure?: string;
}

/** Obeys orders until whoever gives them is gone. */
export function obey(orders: Partial<Orders>): void {
  process.on("disconnect", () => process.exit());
  process.on("message", ({ id, name, value }: Order) => {
    const act = orders[name] as ((value: unknown) => Promise<unknown>) | undefined;
    const told = act?.(value) ?? Promise.reject(new Error(`no such order: ${name}`));
    told.then(
      (result) => process.send?.({ id, result } satisfies Obeyed),
      (error: unknown) => {
        const failure = error instanceof Error ? error.message : String(error);
        process.send?.({ id, failure } satisfies Obeyed);
      },
    );
  });
}
