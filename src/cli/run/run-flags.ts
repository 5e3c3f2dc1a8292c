/** Options of `confluo run`, and how the processes that it starts are told the same. */

import type { AddressFlags } from "../broker-flags.ts";

/** Options of the command. */
export interface RunFlags extends AddressFlags {
  /** True if the address is also for services that were made with a broker of their own. */
  readonly isForAll?: boolean;
  /** `false`: the embedded broker would not do, since there are other processes. */
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

/** As an address: that of `CONFLUO_BROKER`, also for services that were made with a broker of their own. */
export const FROM_ENVIRONMENT = "env";

/**
 * Arguments for another `confluo run` of the same files. What says where the broker is travels in the environment, since
 * arguments can be seen by everyone on the machine.
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
