/** The programs of one measurement. */

import { randomBytes } from "node:crypto";
import type { Case } from "./case.ts";
import type { Launch } from "./launch.ts";
import { Program } from "./program.ts";
import type { Surroundings } from "./variants/variant.ts";

export class Troupe {
  readonly #variant: string;
  readonly #surroundings: Surroundings;
  readonly #launch: Launch;
  readonly #programs: Program[] = [];

  constructor(variant: string, measured: Case, options: Launch & { readonly broker: string }) {
    this.#variant = variant;
    const name = `b${randomBytes(4).toString("hex")}`;
    this.#surroundings = { broker: options.broker, name, case: measured };
    this.#launch = options;
  }

  /** A handler of this service, or the requester. Resolves when it is ready. */
  async start(service?: string): Promise<Program> {
    const title = `${service ?? "requester"} of ${this.#variant} in ${this.#surroundings.case.name}`;
    const program = new Program(title, this.#launch);
    this.#programs.push(program);
    await program.begin({ variant: this.#variant, surroundings: this.#surroundings, service });
    return program;
  }

  /** Ends all of them, as politely as they let it. */
  async end(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.end()));
  }

  /** Ends all of them at once: for those that have work left that nobody waits for. */
  async kill(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.kill()));
  }
}
