import { Service } from "confluo";

const b = new Service("Service-B");
b.subscribe("/foo/bar", async ({ body }) => {
  console.log(`Service-B got ${JSON.stringify(body)}`);
  const response = await b.call("Service-A", "/bar", { data: "Some body data" });
  console.log(response.status, response.body);
});

await b.run();
console.log("Service-B is down");
