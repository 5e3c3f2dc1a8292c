/** How long a service handled nothing although there was work. */

/** A stretch of time, in milliseconds since the run began. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
}

/** What a service had to do. */
export interface Workload {
  /** One for each message: from its confirm to the first end of a handler. `to` is infinite if that never came. */
  readonly work: readonly Stretch[];
  /** When any handler ended. */
  readonly progress: readonly number[];
  /** When the broker was down: does not count. */
  readonly brokerDown: readonly Stretch[];
  readonly end: number;
}

/** @returns the longest stall, without the time that the broker was down, and when it was; undefined if there was none. */
export function findLongestStall({
  work,
  progress,
  brokerDown,
  end,
}: Workload): (Stretch & { readonly ms: number }) | undefined {
  // A handler may end before the confirm has come: then there was no work that waited.
  const waited = work.filter(({ from, to }) => to > from);
  const begins = waited.map(({ from }) => from).sort((a, b) => a - b);
  const ends = waited.map(({ to }) => to).sort((a, b) => a - b);
  const moments = [...progress, end].sort((a, b) => a - b);
  let longest: (Stretch & { readonly ms: number }) | undefined;
  let last = 0;
  let begun = 0;
  let ended = 0;
  for (const moment of moments) {
    while ((ends[ended] ?? Number.POSITIVE_INFINITY) <= last) ended += 1;
    while ((begins[begun] ?? Number.POSITIVE_INFINITY) <= last) begun += 1;
    // Nothing ends between two moments, so what waits first waits until the second.
    const from = begun > ended ? last : (begins[begun] ?? moment);
    const down = brokerDown.reduce(
      (sum, away) => sum + Math.max(0, Math.min(away.to, moment) - Math.max(away.from, from)),
      0,
    );
    const ms = moment - from - down;
    if (ms > (longest?.ms ?? 0)) longest = { from, to: moment, ms };
    last = moment;
  }
  return longest;
}
