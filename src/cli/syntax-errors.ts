/** Where a module has a mistake: what Node says when it ends with one, and keeps to itself when an import is caught. */

import { execFile } from "node:child_process";

const ASK_MS = 10_000;

/**
 * Returns what Node prints of a `SyntaxError` in a module or in one that it imports: file, line and the place in it. Nothing of them is
 * run.
 *
 * @param url of the module that could not be imported.
 */
export async function describeSyntaxError(url: string, error: SyntaxError): Promise<string> {
  const told = error.stack ?? String(error);
  // That of a CommonJS module, of TypeScript and of a name that is not exported begins with its place.
  if (!/^SyntaxError\b/.test(told)) return withoutFrames(told);
  const printed = await printedOf(url);
  return printed ?? withoutFrames(told);
}

function withoutFrames(stack: string): string {
  return stack.replace(/\n {4}at [\s\S]*$/, "");
}

// All modules are read before any is run: the first of them ends that process.
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
