/** Headers of the copies that a delivery leaves behind. */

import { header } from "../../protocol/codec.ts";
import type { Hop } from "../../retry/delay-levels.ts";

/** The headers that tell the story of a message that failed. */
export const storyHeaders: readonly string[] = [
  header.error,
  header.errorName,
  header.errorMessage,
  header.errorStack,
  header.firstFailedAt,
  header.failedAt,
  header.queue,
  header.instance,
];

/** What a copy that waits has to say. */
interface DelayedRetry {
  readonly hop: Hop;
  readonly unclaimedMs: number;
  readonly expiresMs: number | undefined;
}

/** Returns the headers of a copy that waits, each left out when it holds its default. */
export function waitHeaders({ hop, unclaimedMs, expiresMs }: DelayedRetry): Readonly<Record<string, string>> {
  return {
    ...(hop.restMs === 0 ? {} : { [header.wait]: String(hop.restMs) }),
    ...(unclaimedMs === 0 ? {} : { [header.unclaimed]: String(unclaimedMs) }),
    ...(expiresMs === undefined ? {} : { [header.expires]: String(expiresMs) }),
  };
}
