/** Spans and metrics of what services send and handle, by OpenTelemetry. Imported only where an SDK was started. */

import { subscribe } from "node:diagnostics_channel";
import { diagnosticsChannels, type HandledMessage, type OutgoingMessage } from "../core/diagnostics.ts";
import { HandledSpans } from "./handled-spans.ts";
import { Metrics } from "./metrics.ts";
import { OutgoingSpans } from "./outgoing-spans.ts";

/** Listens to all services of this process, for good. */
export function listen(): void {
  const { outgoing, handled } = diagnosticsChannels;
  const metrics = new Metrics();
  const sent = new OutgoingSpans();
  const got = new HandledSpans();
  const onOutgoing = (name: string, listener: (message: OutgoingMessage) => void): void =>
    subscribe(name, (message) => listener(message as OutgoingMessage));
  const onHandled = (name: string, listener: (message: HandledMessage) => void): void =>
    subscribe(name, (message) => listener(message as HandledMessage));
  onOutgoing(outgoing.start, (message) => {
    metrics.send(message);
    sent.start(message);
  });
  onOutgoing(outgoing.error, (message) => {
    metrics.fail(message);
    sent.fail(message);
  });
  onOutgoing(outgoing.end, (message) => {
    metrics.sent(message);
    sent.end(message);
  });
  onHandled(handled.start, (message) => {
    metrics.handle(message);
    got.start(message);
  });
  onHandled(handled.error, (message) => {
    metrics.fail(message);
    got.fail(message);
  });
  onHandled(handled.end, (message) => {
    metrics.handled(message);
    got.end(message);
  });
}
