/** The types of `promtool.mjs`, for the tests. */

/** Runs `promtool` on files of a folder, which the arguments name by relative paths. */
export type Promtool = (
  folder: string,
  args: readonly string[],
) => Promise<{ readonly code: number; readonly output: string }>;

/** Finds `promtool`. Rejects with advice if there is none. */
export function findPromtool(options?: {
  readonly env?: NodeJS.ProcessEnv;
  readonly log?: (line: string) => void;
}): Promise<Promtool>;
