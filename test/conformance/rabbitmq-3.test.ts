import { conformanceOfRabbitMQ } from "./rabbitmq.ts";

conformanceOfRabbitMQ(3, 3);
