/** Options of `amqps://`, apart from the client, so that the published types need neither it nor Node's. */

/** TLS options, passed on to Node's `tls.connect`, and how the broker shall know who connects. */
export interface TlsOptions {
  /** Certificates of the authorities to trust, in PEM. Default: those that Node trusts. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
  /** This side's certificate, in PEM. Default: none. */
  readonly cert?: string | Uint8Array | undefined;
  /** The key of `cert`, in PEM. */
  readonly key?: string | Uint8Array | undefined;
  /** Certificate and key in one, as PKCS #12, instead of `cert` and `key`. */
  readonly pfx?: string | Uint8Array | undefined;
  /** Of `key` or `pfx`, if it has one. */
  readonly passphrase?: string | undefined;
  /** The name that the broker's certificate must have. Default: the host of the URL. */
  readonly servername?: string | undefined;
  /** The oldest version to speak. Default: Node's, TLS 1.2. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
  /** `false` accepts any certificate: for a laptop, never for production. Default: `true`. */
  readonly rejectUnauthorized?: boolean | undefined;
  /** `"password"`: by user and password of the URL. `"certificate"`: by `cert`, SASL EXTERNAL. Default: `"password"`. */
  readonly authentication?: "password" | "certificate" | undefined;
}
