/** Measures how far the broker is behind, so that further messages can wait outside of the connection's buffers. */

import { Gate } from "../../../async/gate.ts";

/** The number of bytes under way at which publishing has to wait. */
const MOST_BYTES = 8 * 1024 * 1024;
/** The number of bytes under way at which publishing may continue. */
const FEW_BYTES = 4 * 1024 * 1024;
/** The bytes that a message takes besides its body, about. */
const MESSAGE_BYTES = 256;

/** Counts the bytes that were published and are neither confirmed nor known to be written. */
export class PublishBackpressure {
  #bytes = 0;
  #settled = 0;
  #blocked: string | undefined;
  #ended = false;
  #relief: Gate | undefined;

  /** The broker's own reason for accepting nothing more. */
  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** A gate that opens when more may be published; `undefined` if more may be published now. */
  get congestion(): Gate | undefined {
    if (this.#relief !== undefined) return this.#relief;
    if (this.#ended || (this.#blocked === undefined && this.#bytes < MOST_BYTES)) return undefined;
    this.#relief = new Gate();
    return this.#relief;
  }

  /** The number of bytes under way, and of messages that were settled so far. It shows whether confirms still arrive. */
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

  /** Notes that the broker accepts nothing more, or accepts messages again. */
  setBlocked(reason: string | undefined): void {
    this.#blocked = reason;
    this.#relieve();
  }

  /** Opens the gate for good, because the connection is gone. */
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
