/**
 * Finds the place of a syntax error in a module. Node prints it when a program ends with the error, but does not report it for
 * a caught import.
 */

import { execFile } from "node:child_process";

const ASK_MS = 10_000;

/**
 * Returns Node's description of a `SyntaxError` in a module or one of its imports: file, line and the place in it. No module is
 * executed.
 *
 * @param url of the module that could not be imported.
 */
export async function describeSyntaxError(url: string, error: SyntaxError): Promise<string> {
  const told = error.stack ?? String(error);
  // The stack begins with the place if the error is in CommonJS or TypeScript, or about a name that is not exported.
  if (!/^SyntaxError\b/.test(told)) return withoutFrames(told);
  const printed = await printedOf(url);
  return printed ?? withoutFrames(told);
}

function withoutFrames(stack: string): string {
  return stack.replace(/\n {4}at [\s\S]*$/, "");
}

// Node parses all modules before it runs the first one, which ends the process. So none of the others is executed.
function printedOf(url: string): Promise<string | undefined> {
  const code = `import "data:text/javascript,process.exit(0)"; import ${JSON.stringify(url)};`;
  const args = [...process.execArgv, "--input-type=module", "--eval", code];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: ASK_MS }, (_failure, _out, err) => {
      const [printed] = /^.*?:\d+\n[\s\S]*?^SyntaxError.*$/m.exec(err) ?? [];
      resolve(printed);
    });
  });
}
