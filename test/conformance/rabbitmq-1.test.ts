import { conformanceOfRabbitMQ } from "./rabbitmq.ts";

conformanceOfRabbitMQ(1, 3);
