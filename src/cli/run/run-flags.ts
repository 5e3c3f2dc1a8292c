/** Options of `confluo run`, and how they are passed to the processes that it starts. */

import type { AddressFlags } from "../broker-flags.ts";

/** Options of the command. */
export interface RunFlags extends AddressFlags {
  /** True if the address also applies to services that were made with a broker of their own. */
  readonly isForAll?: boolean;
  /** `false` if the embedded broker cannot be used, because there are several processes. */
  readonly embedded?: boolean;
  readonly instances?: number;
  readonly watch?: true;
  readonly http?: string;
  readonly export?: readonly string[];
  /** In milliseconds. */
  readonly drain?: number;
  /** In milliseconds. */
  readonly connectTimeout?: number;
}

/**
 * Value of `--broker` in a child process: the address in `CONFLUO_BROKER`, also for services that were made with a broker of
 * their own.
 */
export const FROM_ENVIRONMENT = "env";

/**
 * Returns the arguments for another `confluo run` with the same files. The broker's address is passed in the environment,
 * because every user of the machine can see the arguments of a process.
 */
export function argumentsFor(files: readonly string[], flags: RunFlags): readonly string[] {
  const { isForAll, embedded, instances, http, drain, connectTimeout } = flags;
  const given = {
    broker: isForAll ? FROM_ENVIRONMENT : undefined,
    instances,
    http,
    drain: drain === undefined ? undefined : `${drain}ms`,
    "connect-timeout": connectTimeout === undefined ? undefined : `${connectTimeout}ms`,
  };
  const options = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, String(value)],
  );
  const names = (flags.export ?? []).flatMap((name) => ["--export", name]);
  const others = embedded === false ? ["--no-embedded"] : [];
  return ["run", ...options, ...names, ...others, "--", ...files];
}
