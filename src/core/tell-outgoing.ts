/** Tells of what a service sends, if anyone listens. */

import type { AnyCommand } from "../contract/command.ts";
import type { AnyEvent } from "../contract/event.ts";
import type { Message } from "../protocol/message.ts";
import { OutgoingMessage, type Whose } from "./diagnostics.ts";
import type { PendingCall } from "./pending-call.ts";
import type { PublishParts } from "./pending-publish.ts";

/** What something was sent by, if not by names alone. */
export type Contract = AnyCommand | AnyEvent | undefined;

/** Tells of a call, which may get headers of the listeners. */
export function tellCall({ service, instance }: Whose, call: PendingCall, messageId: string): void {
  const { service: to, path, contract, headers } = call;
  const pattern = patternOf(contract);
  const told = new OutgoingMessage(
    { service, instance, kind: "call", to, path, pattern, messageId },
    headers,
  );
  call.headers = told.begin();
  told.until(call.promise);
}

/** Tells of a one-way command or event. @returns the message with the headers of the listeners, and who is told of its end. */
export function tellPublish(
  { service, instance }: Whose,
  { outgoing, message, service: to, key }: Omit<PublishParts, "of">,
  contract: Contract,
): { readonly message: Message; readonly told: OutgoingMessage } {
  const { body, properties } = message;
  const { path } = outgoing;
  const { messageId = "" } = properties;
  const what =
    key === undefined ? ({ kind: "send", to } as const) : ({ kind: "event", to: undefined } as const);
  const told = new OutgoingMessage(
    { service, instance, ...what, path, pattern: patternOf(contract), messageId },
    outgoing.headers,
  );
  const headers = told.begin();
  return {
    message: headers === undefined ? message : { body, properties: { ...properties, headers } },
    told,
  };
}

// As it was declared: `.at()` has put the parameters' values into the path.
function patternOf(contract: Contract): string | undefined {
  return contract?.pattern ?? contract?.path;
}
