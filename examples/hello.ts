import { Service } from "confluo";

const a = new Service("Service-A");
const b = new Service("Service-B");

b.subscribe("/foo/bar", async ({ body }) => {
  console.log(`Service-B got ${JSON.stringify(body)}`);
  const response = await b.call("Service-A", "/bar", { data: "Some body data" });
  console.log(response.status, response.body);
});

a.route("/bar", async ({ body }) => {
  console.log(`Service-A got ${JSON.stringify(body)}`);
  return { value: 1 };
});

await Promise.all([a.connect(), b.connect()]);
await a.publish("/foo/bar", "hello");
