/** A service to feed generated messages to, at a broker of either kind. */

import { type AmqpClient, type Broker, type Properties, Service, silentLogger } from "../../src/index.ts";
import { eventually } from "../../src/testing/index.ts";

/** A message, and the way by which it comes to the service. */
export interface Generated {
  readonly lane: "calls" | "inbox" | "told" | "copied" | "replies";
  readonly body: Uint8Array;
  /** A `replyTo` of `"answers"` stands for a queue that there is. */
  readonly properties: Properties;
}

/** The service, and what became of the messages. */
export class FuzzTarget {
  readonly broker: Broker;
  /** One-way commands and events that the broker took. */
  durable = 0;
  calls = 0;
  handled = 0;
  answers = 0;
  readonly #service: Service;
  readonly #caller: Service;
  #client: AmqpClient | undefined;
  #answers = "";
  #replies = "";

  constructor(broker: Broker) {
    this.broker = broker;
    const options = { broker, logger: silentLogger, retry: { attempts: 1 }, unhandledRetryMs: 0 };
    const handle = ({ body, kind }: { readonly body: unknown; readonly kind: string }): unknown => {
      if (kind !== "call") this.handled += 1;
      return body;
    };
    this.#service = new Service("fuzzed", options)
      .route("/echo", handle)
      .route("/fails", () => Promise.reject(new Error("no")))
      .subscribe("/told/#", handle)
      .subscribe("/copied/#", () => undefined, { per: "instance" });
    this.#caller = new Service("caller", options);
  }

  async open(): Promise<void> {
    const { transport } = this.broker;
    const join = transport.openSession.bind(transport);
    let replyTo = (): string => "";
    transport.openSession = async (member, signal) => {
      const link = await join(member, signal);
      if (member.service === "fuzzed") replyTo = () => link.replyTo;
      return link;
    };
    await Promise.all([this.#service.connect(), this.#caller.connect()]);
    await this.#service.call("fuzzed", "/echo");
    this.#replies = replyTo();
    this.#client = await this.broker.openClient();
    const queue = { name: "", exclusive: true, arguments: { "x-queue-type": "classic" } } as const;
    this.#answers = await this.#client.declareQueue(queue);
    await this.#client.consume({
      queue: this.#answers,
      prefetch: "no-ack",
      onDelivery: () => {
        this.answers += 1;
      },
      onCancelled: () => undefined,
    });
  }

  /** Sends one message; what the broker itself refuses is no business of the service. */
  async send({ lane, body, properties }: Generated): Promise<void> {
    const { namespace } = this.broker;
    const route = {
      calls: { exchange: "", key: `${namespace}.fuzzed.calls` },
      inbox: { exchange: "", key: `${namespace}.fuzzed.inbox` },
      told: { exchange: `${namespace}.events`, key: "told.you" },
      copied: { exchange: `${namespace}.events`, key: "copied.to.you" },
      replies: { exchange: "", key: this.#replies },
    }[lane];
    const given = properties.replyTo === "answers" ? { ...properties, replyTo: this.#answers } : properties;
    const failure = await new Promise((resolve) => {
      this.#client?.publish(route, { body, properties: given }, resolve);
    });
    if (failure !== undefined) return;
    if (lane === "calls") this.calls += 1;
    if (lane === "inbox" || lane === "told") this.durable += 1;
  }

  /** Dead letters so far. */
  dead(): Promise<number> {
    return this.#depth("dead");
  }

  /** Whether the service, having taken all, answers still. */
  async answersStill(): Promise<unknown> {
    const taken = async (): Promise<boolean> =>
      (await this.#depth("calls")) + (await this.#depth("inbox")) === 0;
    await eventually(taken, "all to be taken");
    return (await this.#caller.call("fuzzed", "/echo", "still")).body;
  }

  /** Messages that were given back when the service ended: those that it had not settled. */
  async unsettled(): Promise<number> {
    await this.#service.shutdown({ timeoutMs: 2_000 });
    return (await this.#depth("calls")) + (await this.#depth("inbox"));
  }

  async close(): Promise<void> {
    await Promise.all([
      this.#service.shutdown({ timeoutMs: 1 }),
      this.#caller.shutdown(),
      this.#client?.close(),
    ]);
  }

  async #depth(lane: "calls" | "inbox" | "dead"): Promise<number> {
    return (await this.#client?.inspectQueue(`${this.broker.namespace}.fuzzed.${lane}`))?.messages ?? 0;
  }
}
