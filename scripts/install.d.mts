/** The types of `install.mjs`, for the tests. */

/** Makes a folder's `node_modules` what its `package-lock.json` says. Rejects where npm fails, which then has said why. */
export function ensureInstalled(options?: {
  readonly folder?: string;
  readonly log?: (line: string) => void;
}): Promise<void>;
