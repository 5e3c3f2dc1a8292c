/** Replies on their way back: those of one turn to one requester travel together, if it takes that. */

import { gatherableLength, gatherReplies, sayingWhatItTakes } from "../../protocol/gathered.ts";
import type { Message } from "../../protocol/message.ts";
import type { Gathering } from "../transport.ts";
import type { Appetite } from "./appetite.ts";
import { TurnCollector } from "./turn-collector.ts";

/** What a reply gatherer works with. */
export interface ReplyGathererParts {
  readonly service: string;
  readonly gathering: Gathering;
  readonly appetite: Appetite;
  post(to: string, message: Message, tooLarge?: () => void): void;
}

interface Outgoing {
  readonly message: Message;
  readonly tooLarge: (() => void) | undefined;
}

/** One who takes gathered replies. */
interface Requester {
  readonly collector: TurnCollector<Outgoing>;
  /** It has asked how many calls it may send in one message. */
  asks: boolean;
}

const MOST_REPLIES = 64;
const MOST_REQUESTERS = 4_096;

/** Sends replies, each by itself or several together. */
export class ReplyGatherer {
  readonly #parts: ReplyGathererParts;
  readonly #requesters = new Map<string, Requester>();

  constructor(parts: ReplyGathererParts) {
    this.#parts = parts;
  }

  /** A call said that its sender takes gathered replies, and wants to know how many calls it may send in one message. */
  heard(replyTo: string): void {
    if (this.#parts.gathering.calls === 1) return;
    const requester = this.#requesters.get(replyTo) ?? this.#requesterAt(replyTo);
    requester.asks = true;
  }

  reply(to: string, message: Message, tooLarge?: () => void): void {
    const { gathering, appetite, post } = this.#parts;
    appetite.answered();
    const requester = this.#requesters.get(to);
    if (requester === undefined) {
      post(to, message, tooLarge);
      return;
    }
    const length = gatherableLength(message, gathering.bytes);
    if (length === undefined) post(to, this.#withAnswer(requester, message), tooLarge);
    else requester.collector.add({ message, tooLarge }, length, MOST_REPLIES);
  }

  /** Sends what waits for the end of its turn. */
  flush(): void {
    for (const { collector } of this.#requesters.values()) collector.flush();
  }

  #requesterAt(replyTo: string): Requester {
    // The oldest goes; if it is still there, it asks again.
    for (const known of this.#requesters.keys()) {
      if (this.#requesters.size < MOST_REQUESTERS) break;
      this.#requesters.get(known)?.collector.flush();
      this.#requesters.delete(known);
    }
    const { bytes, isEager } = this.#parts.gathering;
    const collector = new TurnCollector<Outgoing>({
      bytes,
      isEager,
      send: (replies) => this.#send(replyTo, requester, replies),
    });
    const requester: Requester = { collector, asks: false };
    this.#requesters.set(replyTo, requester);
    return requester;
  }

  #send(to: string, requester: Requester, replies: readonly [Outgoing, ...Outgoing[]]): void {
    const { gathering, post } = this.#parts;
    const [{ message, tooLarge }] = replies;
    if (replies.length === 1 && !gathering.isEager) {
      post(to, this.#withAnswer(requester, message), tooLarge);
      return;
    }
    const together = gatherReplies(replies.map((reply) => reply.message));
    post(to, this.#withAnswer(requester, together), () => {
      // Together they were too large for the broker, which need not be so for each.
      for (const each of replies) post(to, each.message, each.tooLarge);
    });
  }

  // Says how many calls are welcome, if that was asked.
  #withAnswer(requester: Requester, message: Message): Message {
    if (!requester.asks) return message;
    requester.asks = false;
    const { service, appetite } = this.#parts;
    const { properties, ...rest } = sayingWhatItTakes(message, appetite.takes);
    return { ...rest, properties: { ...properties, appId: service } };
  }
}
