/** The types of `test-broker.mjs`, for the tests and the benchmark. */

export interface TestBroker {
  readonly url: string;
  readonly version: string;
  readonly description: string;
  readonly kind: "given" | "private-node" | "container";
  stop(): Promise<void>;
  /** Only of a private node: ends it, starts it again with the same data and ports, and waits until it answers. */
  readonly restart?: ((signal: "SIGKILL" | "SIGTERM") => Promise<void>) | undefined;
  /** Only of a private node: pauses its process, or lets it continue. */
  readonly pause?: ((signal: "SIGSTOP" | "SIGCONT") => void) | undefined;
  /** Only of a private node: runs `rabbitmqctl`; resolves with its output. */
  readonly control?: ((args: readonly string[]) => Promise<string>) | undefined;
}

export interface TestBrokerOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly folders?: readonly string[];
  readonly log?: (line: string) => void;
}

export function startTestBroker(options?: TestBrokerOptions): Promise<TestBroker>;

export function startTestBroker4(options?: TestBrokerOptions): Promise<TestBroker>;

/** Waits until a running broker answers, and returns it; `variable` gave its URL, and messages name it. */
export function useGivenBroker(variable: string, given: string): Promise<TestBroker>;

export interface NodeExtras {
  readonly plugins?: readonly string[];
  readonly files?: Readonly<Record<string, string>>;
  readonly config?: (place: { readonly folder: string; readonly port: number }) => readonly string[];
}

export interface ExtraNode {
  readonly url: string;
  readonly extraPort: number;
  /** Ends it, starts it again with the same data and ports, and waits until it answers. */
  readonly restart?: ((signal: "SIGKILL" | "SIGTERM") => Promise<void>) | undefined;
  /** Runs `rabbitmqctl`; resolves with its output. */
  control(args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

export function findNodeStarter(
  url: string,
  options?: TestBrokerOptions,
): Promise<((extras: NodeExtras) => Promise<ExtraNode>) | string>;

/** Starts a private node, of the given major version if possible; rejects with the reason if there is none. */
export function startOwnNode(
  options: TestBrokerOptions & {
    readonly version: string;
    /** Settings of the Erlang application `rabbit`, such as `consumer_timeout`. */
    readonly settings?: Readonly<Record<string, number>>;
  },
): Promise<TestBroker>;
