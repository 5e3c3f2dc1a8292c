/** A call, an event that it causes, and a one-way command that this causes, as one trace. */

import { Service } from "confluo";
import { command, event } from "confluo/contract";
import { readSpans, type SpanLine } from "./tracing.ts"; // starts OpenTelemetry, before anything connects

const charge = command("billing", "/orders/:id/charge");
const paid = event("/orders/:id/paid");
const letter = command("mail", "/letters");

const shop = new Service("shop");
const billing = new Service("billing");
const mail = new Service("mail");

billing.route(charge, async ({ params }) => {
  await billing.publish(paid.at({ id: params.id }));
  return "charged";
});
shop.subscribe(paid, () => shop.send(letter));

await Promise.all([shop.connect(), billing.connect()]);
const sent = new Promise<void>((resolve) => mail.route(letter, () => resolve()));
await mail.connect();

await shop.call(charge.at({ id: "7" }));
await sent;
await Promise.all([shop.shutdown(), billing.shutdown(), mail.shutdown()]);

const spans = readSpans();
print(spans.filter(({ parent }) => parent === undefined));

function print(siblings: readonly SpanLine[], indent = ""): void {
  for (const { id, name, service } of siblings) {
    console.log(`${indent}${service}: ${name}`);
    print(
      spans.filter(({ parent }) => parent === id),
      `${indent}  `,
    );
  }
}
