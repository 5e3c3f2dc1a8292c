/**
 * The TLS options of a connection. They have a file of their own so that the published types depend neither on amqplib nor on
 * Node's types.
 */

/** The TLS options, which are passed to Node's `tls.connect`, and the way in which the client authenticates. */
export interface TlsOptions {
  /** The certificates of the authorities to trust, in PEM. Default: those that Node trusts. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
  /** The client's certificate, in PEM. Default: none. */
  readonly cert?: string | Uint8Array | undefined;
  /** The key of `cert`, in PEM. */
  readonly key?: string | Uint8Array | undefined;
  /** The client's certificate and key in one PKCS #12 file, in place of `cert` and `key`. */
  readonly pfx?: string | Uint8Array | undefined;
  /** The passphrase of `key` or `pfx`, if there is one. */
  readonly passphrase?: string | undefined;
  /** The name that the broker's certificate must have. Default: the host of the URL. */
  readonly servername?: string | undefined;
  /** The oldest version of TLS to accept. Default: Node's, TLS 1.2. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
  /** If `false`, any certificate is accepted: for a laptop, never for production. Default: `true`. */
  readonly rejectUnauthorized?: boolean | undefined;
  /** `"password"`: with user and password of the URL. `"certificate"`: with `cert`, by SASL EXTERNAL. Default: `"password"`. */
  readonly authentication?: "password" | "certificate" | undefined;
}
