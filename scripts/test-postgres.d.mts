/** The types of `test-postgres.mjs`, for the tests. */

export interface TestPostgres {
  readonly url: string;
  readonly description: string;
  stop(): Promise<void>;
}

/** Rejects with what to do where none can be had. */
export function startTestPostgres(options?: {
  readonly env?: NodeJS.ProcessEnv;
  readonly folders?: readonly string[];
  readonly log?: (line: string) => void;
}): Promise<TestPostgres>;
