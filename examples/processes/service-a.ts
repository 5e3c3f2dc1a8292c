import { Service } from "confluo";

const a = new Service("Service-A");
a.route("/bar", async ({ body }) => {
  console.log(`Service-A got ${JSON.stringify(body)}`);
  return { value: 1 };
});

await a.run();
console.log("Service-A is down");
