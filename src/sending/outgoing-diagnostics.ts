/** Tells of what a service sends, if anyone listens. */

import type { AnyCommand } from "../contract/command.ts";
import type { AnyEvent } from "../contract/event.ts";
import { OutgoingMessage, type Whose } from "../diagnostics.ts";
import type { PendingCall } from "./pending-call.ts";
import type { PendingConfirm } from "./pending-confirm.ts";

/** Tells of a call, which may get headers of the listeners. */
export function traceCall({ service, instance }: Whose, call: PendingCall, messageId: string): void {
  const { service: to, path, contract, headers } = call;
  const pattern = patternOf(contract);
  const told = new OutgoingMessage(
    { service, instance, kind: "call", to, path, pattern, messageId },
    headers,
  );
  call.headers = told.begin();
  told.until(call.promise);
}

/** Tells of a one-way command or event, whose message may get headers of the listeners. */
export function tracePublish({ service, instance }: Whose, pending: PendingConfirm): void {
  const { path, message, contract, isEvent } = pending;
  const { body, properties } = message;
  const { messageId = "" } = properties;
  const what = isEvent
    ? ({ kind: "event", to: undefined } as const)
    : ({ kind: "send", to: pending.service } as const);
  const told = new OutgoingMessage(
    { service, instance, ...what, path, pattern: patternOf(contract), messageId },
    properties.headers,
  );
  const headers = told.begin();
  if (headers !== undefined) pending.message = { body, properties: { ...properties, headers } };
  told.until(pending.promise);
}

// As it was declared: `.at()` has put the parameters' values into the path.
function patternOf(contract: AnyCommand | AnyEvent | undefined): string | undefined {
  return contract?.pattern ?? contract?.path;
}
