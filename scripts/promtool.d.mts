/** The types of `promtool.mjs`, for the tests. */

/** Runs `promtool` on files of a folder, which the arguments name by their paths in there. */
export type Promtool = (
  folder: string,
  args: readonly string[],
) => Promise<{ readonly code: number; readonly output: string }>;

/** Rejects with what to do where it cannot be had. */
export function findPromtool(options?: {
  readonly env?: NodeJS.ProcessEnv;
  readonly log?: (line: string) => void;
}): Promise<Promtool>;
