/** A client: it connects, publishes an event and ends. */

import { Service } from "confluo";

await using client = await new Service("client").connect();
await client.publish("/foo/bar", "hello");
console.log("published");
