/** A manager sends jobs that three instances of one service share. Each job is done once. */

import { Service } from "confluo";

interface Job {
  readonly n: number;
}

const done: number[] = [];
const workers = Array.from({ length: 3 }, () => {
  const worker = new Service("worker", { concurrency: { inbox: 2 } });
  return worker.route("/square", async ({ body }) => {
    const { n } = body as Job;
    await new Promise((resolve) => setTimeout(resolve, 5));
    await worker.publish("/squared", { n, square: n * n });
  });
});

const manager = new Service("manager");
const finished = new Promise<void>((resolve) => {
  manager.subscribe("/squared", ({ body }) => {
    const { square } = body as { readonly square: number };
    done.push(square);
    if (done.length === 20) resolve();
  });
});

await Promise.all([manager, ...workers].map((service) => service.connect()));
// Resolves when the broker has confirmed every job: from here on none is lost.
await Promise.all(
  Array.from({ length: 20 }, (_, n) => manager.send("worker", "/square", { n } satisfies Job)),
);
console.log("20 jobs are with the broker");
await finished;
console.log("done:", done.sort((a, b) => a - b).join(" "));
await Promise.all([manager, ...workers].map((service) => service.shutdown()));
