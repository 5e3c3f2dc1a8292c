/** An HTTP endpoint as the face shows it, free of Node's types. */

/** An endpoint that is up. */
export interface Observed {
  /** Without a path, such as `http://127.0.0.1:9464`. */
  readonly url: string;
  /** Stops listening and ends what is open. */
  close(): Promise<void>;
}
