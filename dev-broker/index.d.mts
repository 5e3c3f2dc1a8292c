/** The types of `index.mjs`. */

/** A broker that was started, with an empty virtual host. */
export interface DevBroker {
  readonly url: string;
  /** Of RabbitMQ, such as `3.13.7`. */
  readonly version: string;
  readonly kind: "private-node" | "container";
  /** Resolves once nothing is left of it. */
  stop(): Promise<void>;
}

/** Rejects with an `Error` that says what to do where there is neither RabbitMQ nor Docker. */
export function startDevBroker(options?: {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly log?: (line: string) => void;
}): Promise<DevBroker>;
