/** A client: it connects, says what it has to say, and leaves. */

import { Service } from "confluo";

await using client = await new Service("client").connect();
await client.publish("/foo/bar", "hello");
console.log("published");
