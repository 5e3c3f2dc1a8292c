/** Reports spans and metrics of messages to OpenTelemetry. Imported only if an SDK was started. */

import { subscribe } from "node:diagnostics_channel";
import { diagnosticsChannels, type HandledMessage, type OutgoingMessage } from "../diagnostics.ts";
import { describeThrown } from "../errors.ts";
import { HandledSpans } from "./handled-spans.ts";
import { Metrics } from "./metrics.ts";
import { OutgoingSpans } from "./outgoing-spans.ts";
import type { OpenTelemetry } from "./tracer.ts";

/** Subscribes permanently to the messages of all services of this process. */
export function listen(api: OpenTelemetry): void {
  const { outgoing, handled } = diagnosticsChannels;
  const metrics = new Metrics(api);
  const sent = new OutgoingSpans(api);
  const got = new HandledSpans(api);
  const onOutgoing = (name: string, listener: (message: OutgoingMessage) => void): void =>
    subscribe(name, guarded(api, listener));
  const onHandled = (name: string, listener: (message: HandledMessage) => void): void =>
    subscribe(name, guarded(api, listener));
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

// An error thrown by a listener would end the process, and samplers, processors and propagators of the application may throw.
function guarded<Told>(
  { diag }: OpenTelemetry,
  listener: (message: Told) => void,
): (message: unknown) => void {
  return (message) => {
    try {
      listener(message as Told);
    } catch (error) {
      diag.error("confluo: telemetry of a message failed", describeThrown(error).message);
    }
  };
}
