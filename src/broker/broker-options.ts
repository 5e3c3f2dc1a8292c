/** Options of a broker. */

import type { Logger } from "../logging/logger.ts";
import type { OptionNames } from "../options/checks.ts";
import type { TlsOptions } from "../transport/rabbitmq/tls-options.ts";

/** Options of a `Broker`. */
export interface BrokerOptions {
  /** Prefix of everything at the broker: services meet only within one. Default: `CONFLUO_NAMESPACE`, else `"confluo"`. */
  readonly namespace?: string | undefined;
  /** For `amqps://`: what Node's `tls.connect` takes. Default: the files of `CONFLUO_CA`, `CONFLUO_CERT` and `CONFLUO_KEY`. */
  readonly tls?: TlsOptions | undefined;
  /**
   * The largest body, in bytes. Default: 16,777,216 (16 MiB), what RabbitMQ 4 takes unless its `max_message_size`
   * says otherwise.
   */
  readonly maxBodyBytes?: number | undefined;
  /** Where lines about the connection go. Default: standard error, without `debug`. */
  readonly logger?: Logger | undefined;
}

/** Their names. */
export const brokerOptions: OptionNames<BrokerOptions> = {
  namespace: true,
  tls: true,
  maxBodyBytes: true,
  logger: true,
};
/** The default of `maxBodyBytes`. */
export const MAX_BODY_BYTES: number = 16 * 1024 * 1024;
