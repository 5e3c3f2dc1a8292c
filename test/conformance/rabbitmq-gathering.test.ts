import { callingTopics } from "./calling-topics.ts";
import { conformanceOfRabbitMQ } from "./rabbitmq.ts";

conformanceOfRabbitMQ({
  name: "RabbitMQ, gathering whatever it can",
  gathersEagerly: true,
  only: callingTopics,
});
