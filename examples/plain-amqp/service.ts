/** The confluo side: one command and one subscription. */

import { Service } from "confluo";

const service = new Service("greeter");
service.route("/greet", ({ body }) => `Hello, ${(body as { readonly name: string }).name}!`);
service.subscribe("/visitor/*/arrived", ({ path, body }) => console.log("service:", path, body));

await service.run();
