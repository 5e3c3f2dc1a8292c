/** How a message differs, where it does, between its publisher and its receiver. */

import type { Message, Properties } from "../../protocol/message.ts";

/** The message as it is delivered for the second time or later from a quorum queue. */
export function withDeliveryCount(message: Message, count: number): Message {
  const headers = { ...message.properties.headers, "x-delivery-count": count };
  return { body: message.body, properties: { ...message.properties, headers } };
}

/** The message as it is received: `mandatory` is a flag of the publish and does not travel. */
export function withoutMandatory(message: Message): Message {
  const { mandatory: _, ...properties }: Properties = message.properties;
  return new Received(message, properties);
}

class Received implements Message {
  readonly properties: Properties;
  readonly #sent: Message;

  constructor(sent: Message, properties: Properties) {
    this.#sent = sent;
    this.properties = properties;
  }

  get body(): Uint8Array {
    return this.#sent.body;
  }

  get json(): string | undefined {
    return this.#sent.json;
  }

  get length(): number | undefined {
    return this.#sent.length;
  }
}
