/** A program of a fleet, from outside. */

import type { ChildProcess } from "node:child_process";
import { type Launch, launchNode } from "../../launch.ts";
import type { Obeyed, Orders } from "./orders.ts";

interface Waiting {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

export class FleetProgram {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #failure: Error | undefined;

  /** @param name of the file in `programs/`. */
  constructor(name: "fleet-member" | "fleet-sender", launch: Launch, args: readonly string[]) {
    this.#child = launchNode(new URL(`../programs/${name}.js`, import.meta.url), name, launch, args);
    let errors = "";
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      errors = (errors + String(chunk)).slice(-2_000);
    });
    this.#child.on("message", ({ id, result, failure }: Obeyed) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (failure === undefined) waiting?.resolve(result as never);
      else waiting?.reject(new Error(`${name}: ${failure}`));
    });
    this.#child.once("error", (error) => this.#fail(error));
    this.#exited = new Promise((resolve) => {
      this.#child.once("exit", (code, signal) => {
        this.#fail(new Error(`${name} ended with ${code ?? signal}. ${errors}`.trim()));
        resolve();
      });
    });
  }

  /** Gives an order, and resolves when it is obeyed. */
  ask<Name extends keyof Orders>(
    name: Name,
    ...[value]: Parameters<Orders[Name]>
  ): Promise<Awaited<ReturnType<Orders[Name]>>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#asked += 1;
    const id = this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, name, value });
    });
  }

  /** Ends it as a crash would. Resolves when it is gone. */
  kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    return this.#exited;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
