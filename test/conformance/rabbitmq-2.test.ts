import { conformanceOfRabbitMQ } from "./rabbitmq.ts";

conformanceOfRabbitMQ({ part: 2, of: 3 });
