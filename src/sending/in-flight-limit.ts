/** What waits inside the process, within bounds: with a broker that is slow, blocked or gone, memory would grow without. */

import { ConfluoError } from "../errors.ts";

const MOST_MESSAGES = 65_536;
const MOST_BYTES = 256 * 1024 * 1024;

/** Counts messages, and the bytes of their bodies as long as they are held here. */
export class InFlightLimit {
  /** What they wait for, in words that follow 'messages wait for'. */
  readonly #what: string;
  #messages = 0;
  #bytes = 0;

  constructor(what: string) {
    this.#what = what;
  }

  get messages(): number {
    return this.#messages;
  }

  /**
   * One more. The first of all is taken whatever its size.
   *
   * @throws `OVERLOADED`.
   */
  add(path: string, bytes: number): void {
    const hasRoom = this.#messages < MOST_MESSAGES && this.#bytes + bytes <= MOST_BYTES;
    if (this.#messages > 0 && !hasRoom) {
      throw new ConfluoError(
        "OVERLOADED",
        `${path} was not sent: ${this.#messages} messages wait for ${this.#what}, and more than ${MOST_MESSAGES} of them ` +
          `or ${MOST_BYTES} bytes would be too many. Await the promises of call, send and publish.`,
      );
    }
    this.#messages += 1;
    this.#bytes += bytes;
  }

  /** The body of one is no longer held here. */
  release(bytes: number): void {
    this.#bytes -= bytes;
  }

  /** One less. */
  remove(): void {
    this.#messages -= 1;
  }
}
