/** The differences between a message as it was published and as it is received. */

import type { Message, Properties } from "../../protocol/message.ts";

/** Returns a message as a quorum queue delivers it for the second time or later. */
export function withDeliveryCount(message: Message, count: number): Message {
  const headers = { ...message.properties.headers, "x-delivery-count": count };
  return { body: message.body, properties: { ...message.properties, headers } };
}

/** Returns a message as it is received, without `mandatory`, which is a flag of the publish and is not transmitted. */
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
