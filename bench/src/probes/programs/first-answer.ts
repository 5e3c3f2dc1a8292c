/** How long it takes from the beginning of the process to the first answer of a service, on the embedded broker. */

import { Broker, Service } from "../../confluo.ts";
import { sendFigures } from "./sending.ts";

const broker = new Broker("memory:");
const service = await new Service("service").route("/work", ({ body }) => body).connect(broker);
const requester = await new Service("requester").connect(broker);
await requester.call("service", "/work", { id: 1 });
sendFigures({ firstAnswerMs: performance.now() });
await Promise.all([service.shutdown(), requester.shutdown()]);
