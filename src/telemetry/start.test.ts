import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";

const index = pathToFileURL(join(import.meta.dirname, "..", "index.ts")).href;
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;

// Refuses whatever is of OpenTelemetry, and says so.
const hooks = `
  import { writeSync } from "node:fs";
  export async function resolve(specifier, context, next) {
    if (!/@opentelemetry|open-telemetry/.test(specifier)) return next(specifier, context);
    writeSync(1, "asked for " + specifier + "\\n");
    throw new Error("not here.");
  }
`;
const register = `
  import { register } from "node:module";
  register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`)});
`;

/** Runs two services, after some code, in a process where nothing of OpenTelemetry can be imported. */
function runServices(before: string): Promise<string> {
  const program = `
    ${before}
    const { Service, Broker } = await import(${JSON.stringify(index)});
    const broker = new Broker("memory:");
    const [a, b] = [new Service("a"), new Service("b")];
    a.route("/", ({ headers }) => headers);
    await a.connect(broker);
    await b.connect(broker);
    console.log(JSON.stringify((await b.call("a", "/")).body));
    await Promise.all([a.shutdown(), b.shutdown()]);
  `;
  // Of tsx, Node from 26 on says that it uses something deprecated.
  const args = [
    "--no-deprecation",
    "--import",
    tsx,
    "--import",
    `data:text/javascript,${encodeURIComponent(register)}`,
  ];
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [...args, "--input-type=module", "-e", program],
      { timeout: 20_000, env: { ...process.env, CONFLUO_LOG: "text" } },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout + stderr);
        else reject(error);
      },
    );
  });
}

it("imports nothing of OpenTelemetry in a process where no SDK was started", async () => {
  expect(await runServices("")).toBe("{}\n");
});

it("says once what to do where an SDK was started and its API cannot be found, and does without", async () => {
  const output = await runServices('globalThis[Symbol.for("opentelemetry.js.api.1")] = {};');
  expect(output.match(/asked for/g)).toHaveLength(1);
  expect(output).toContain("\n{}\n");
  expect(output.match(/^confluo a: .* Install @opentelemetry\/api beside confluo\./gm)).toHaveLength(1);
});
