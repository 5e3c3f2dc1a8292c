/** @param sorted ascending. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
}

/** Of a few values, the middle one; the mean of the two in the middle for an even number. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
}

/** From the least to the greatest, as a share of the median. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / median(values);
}

/** Ratios of two figures that were measured in pairs. */
export interface Ratio {
  /** Their geometric mean. */
  readonly mean: number;
  /** Where the true mean lies with a probability of 95 %, by Student's t of the logarithms. */
  readonly low: number;
  readonly high: number;
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
}

/** @param ratios Two at least, all of them positive; of fewer, the interval is not known: `NaN`. */
export function summarizeRatios(ratios: readonly number[]): Ratio {
  const logs = ratios.map(Math.log);
  const mean = sum(logs) / logs.length;
  const variance = sum(logs.map((log) => (log - mean) ** 2)) / (logs.length - 1);
  const reach = student95(logs.length - 1) * Math.sqrt(variance / logs.length);
  return {
    mean: Math.exp(mean),
    low: Math.exp(mean - reach),
    high: Math.exp(mean + reach),
    median: median(ratios),
    least: Math.min(...ratios),
    greatest: Math.max(...ratios),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

const FEW = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622];

/** Returns the two-sided 95 % quantile of Student's t distribution. */
export function student95(degreesOfFreedom: number): number {
  const known = FEW[degreesOfFreedom - 1];
  if (known !== undefined || degreesOfFreedom < 1) return known ?? Number.NaN;
  // The normal distribution's, with the first terms of the Cornish-Fisher expansion: exact to three digits from 10 on.
  const z = 1.959964;
  const terms = [
    z,
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
  ];
  return sum(terms.map((term, power) => term / degreesOfFreedom ** power));
}
