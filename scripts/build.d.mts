/** The types of `build.mjs`, for the tests. */

/** Builds `dist/` from `src/`; rejects when the compiler finds errors, and then leaves `dist/` as it was. */
export function build(): Promise<void>;
