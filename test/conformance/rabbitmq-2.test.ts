import { conformanceOfRabbitMQ } from "./rabbitmq.ts";

conformanceOfRabbitMQ(2, 3);
