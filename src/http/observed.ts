/** The type of a running HTTP endpoint, without Node's types, because it is public. */

/** A running HTTP endpoint. */
export interface Observed {
  /** The URL without a path, such as `http://127.0.0.1:9464`. */
  readonly url: string;
  /** Stops listening and closes open connections. */
  close(): Promise<void>;
}
