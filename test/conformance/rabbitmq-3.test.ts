import { conformanceOfRabbitMQ } from "./rabbitmq.ts";

conformanceOfRabbitMQ({ part: 3, of: 3 });
