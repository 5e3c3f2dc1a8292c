/** Options of a broker. */

import type { Logger } from "../logging/logger.ts";
import type { OptionNames } from "../options/checks.ts";
import type { TlsOptions } from "../transport/rabbitmq/tls-options.ts";

/** Options of a `Broker`. */
export interface BrokerOptions {
  /** Prefix of all queues and exchanges; services meet only within one. Default: `CONFLUO_NAMESPACE`, else `"confluo"`. */
  readonly namespace?: string | undefined;
  /** Options of `tls.connect`, for `amqps://`. Default: the files that `CONFLUO_CA`, `CONFLUO_CERT` and `CONFLUO_KEY` name. */
  readonly tls?: TlsOptions | undefined;
  /** Largest body, in bytes. Default: 16,777,216 (16 MiB), the default limit of RabbitMQ 4 (its `max_message_size`). */
  readonly maxBodyBytes?: number | undefined;
  /** Receives log lines about the connection. Default: standard error, without `debug`. */
  readonly logger?: Logger | undefined;
}

/** The names of the options. */
export const brokerOptions: OptionNames<BrokerOptions> = {
  namespace: true,
  tls: true,
  maxBodyBytes: true,
  logger: true,
};
/** The default of `maxBodyBytes`. */
export const MAX_BODY_BYTES: number = 16 * 1024 * 1024;
