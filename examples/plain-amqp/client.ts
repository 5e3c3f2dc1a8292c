/** A bare AMQP program that shares no code with confluo: any language with an AMQP client can do the same. */

import { connect } from "amqplib";

const connection = await connect(process.env.CONFLUO_BROKER ?? "amqp://localhost");
const channel = await connection.createChannel();

// An event is JSON with a routing key: /visitor/7/arrived.
channel.publish("confluo.events", "visitor.7.arrived", Buffer.from('{"name":"Ada"}'), {
  contentType: "application/json",
  persistent: true,
});

// A command has its path in `type`; the answer is sent to the queue in `reply_to`.
const { queue } = await channel.assertQueue("", { exclusive: true });
const answer = new Promise<string>((resolve) => {
  channel.consume(
    queue,
    (message) => {
      if (message?.properties.correlationId === "request-1") resolve(message.content.toString());
    },
    { noAck: true },
  );
});
channel.sendToQueue("confluo.greeter.calls", Buffer.from('{"name":"Ada"}'), {
  contentType: "application/json",
  type: "/greet",
  replyTo: queue,
  correlationId: "request-1",
  expiration: 5_000,
});
console.log("client:", await answer);
await connection.close();
