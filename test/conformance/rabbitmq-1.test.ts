import { conformanceOfRabbitMQ } from "./rabbitmq.ts";

conformanceOfRabbitMQ({ part: 1, of: 3 });
