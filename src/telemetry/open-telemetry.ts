/** Spans of what services send and handle, by OpenTelemetry. Imported only where an SDK was started. */

import { subscribe } from "node:diagnostics_channel";
import { diagnosticsChannels, type HandledMessage, type OutgoingMessage } from "../core/diagnostics.ts";
import { HandledSpans } from "./handled-spans.ts";
import { OutgoingSpans } from "./outgoing-spans.ts";

/** Listens to all services of this process, for good. */
export function listen(): void {
  const { outgoing, handled } = diagnosticsChannels;
  const sent = new OutgoingSpans();
  const got = new HandledSpans();
  subscribe(outgoing.start, (message) => sent.start(message as OutgoingMessage));
  subscribe(outgoing.error, (message) => sent.fail(message as OutgoingMessage));
  subscribe(outgoing.end, (message) => sent.end(message as OutgoingMessage));
  subscribe(handled.start, (message) => got.start(message as HandledMessage));
  subscribe(handled.error, (message) => got.fail(message as HandledMessage));
  subscribe(handled.end, (message) => got.end(message as HandledMessage));
}
