/** How much the broker is behind with what was published, so that what comes next can wait outside of all buffers. */

import { Gate } from "../../../async/gate.ts";

const MOST_BYTES = 8 * 1024 * 1024;
const FEW_BYTES = 4 * 1024 * 1024;
/** The bytes that a message takes besides its body. */
const MESSAGE_BYTES = 256;

/** Counts what was published and is neither confirmed nor known to be written. */
export class PublishBackpressure {
  #bytes = 0;
  #settled = 0;
  #blocked: string | undefined;
  #ended = false;
  #relief: Gate | undefined;

  /** Why the broker takes nothing more, in its own words. */
  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** Opens when more may be published; `undefined` if it may be now. */
  get congestion(): Gate | undefined {
    if (this.#relief !== undefined) return this.#relief;
    if (this.#ended || (this.#blocked === undefined && this.#bytes < MOST_BYTES)) return undefined;
    this.#relief = new Gate();
    return this.#relief;
  }

  /** How much is under way, and how many have arrived so far: for whoever watches over its going on. */
  get progress(): { readonly bytes: number; readonly settled: number } {
    return { bytes: this.#bytes, settled: this.#settled };
  }

  add(bodyBytes: number): void {
    this.#bytes += bodyBytes + MESSAGE_BYTES;
  }

  remove(bodyBytes: number): void {
    this.#bytes -= bodyBytes + MESSAGE_BYTES;
    this.#settled += 1;
    if (this.#relief !== undefined) this.#relieve();
  }

  /** The broker takes nothing more, or goes on. */
  setBlocked(reason: string | undefined): void {
    this.#blocked = reason;
    this.#relieve();
  }

  /** The connection is gone: nobody need wait for it. */
  end(): void {
    this.#ended = true;
    this.#blocked = undefined;
    this.#relieve();
  }

  #relieve(): void {
    if (!this.#ended && (this.#blocked !== undefined || this.#bytes > FEW_BYTES)) return;
    const relief = this.#relief;
    this.#relief = undefined;
    relief?.open();
  }
}
