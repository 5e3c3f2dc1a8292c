/** The types of `install.mjs`, for the tests. */

/** Updates a folder's `node_modules` to match its `package-lock.json`. Rejects if npm fails; npm has then printed the reason. */
export function ensureInstalled(options?: {
  readonly folder?: string;
  readonly log?: (line: string) => void;
}): Promise<void>;
