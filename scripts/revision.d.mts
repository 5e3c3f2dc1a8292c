/** The types of `revision.mjs`, for the tests and the benchmark. */

export interface Revision {
  /** The revision's files, with `node_modules` and the package built in `dist/`. */
  readonly folder: string;
  /** The full name of the commit. */
  readonly commit: string;
  /** Deletes the folder; may be called again. */
  remove(): Promise<void>;
}

/** Unpacks a revision, any name that git resolves to a commit, into a temporary folder and builds it there. */
export function buildRevision(
  revision: string,
  options?: { readonly checkout?: string; readonly log?: (line: string) => void },
): Promise<Revision>;
