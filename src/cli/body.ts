/** Reads the body of a message from an argument, a file or standard input. */

import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { ConfluoError } from "../index.ts";
import type { Terminal } from "./terminal.ts";

/** The source of a body. */
export interface BodySource {
  /** `-` for standard input. */
  readonly argument: string | undefined;
  readonly file: string | undefined;
  /** True to send the text itself, even if it is valid JSON. */
  readonly isText: boolean;
}

/** @throws `INVALID_ARGUMENT` for text that is not JSON, a file that cannot be read, or two sources. */
export async function readBody({ argument, file, isText }: BodySource, terminal: Terminal): Promise<unknown> {
  if (argument !== undefined && file !== undefined)
    throw new ConfluoError("INVALID_ARGUMENT", "Give the body as an argument or from a file, not both.");
  const given = await read(argument, file, terminal);
  if (given === undefined) return undefined;
  if (isText) return given;
  // Also removes a byte order mark, which editors and shells on Windows add.
  const json = given.trim();
  if (json === "") return undefined;
  try {
    return JSON.parse(json);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `The body is not JSON: ${reason}. To send it as a text, use --text.`;
    throw new ConfluoError("INVALID_ARGUMENT", message, { cause });
  }
}

/** Returns a body that JSON can represent: bytes become base64. */
export function bodyAsJson(body: unknown): unknown {
  return body instanceof Uint8Array ? { base64: base64Of(body) } : body;
}

/** Returns a text for bytes that a terminal can show. */
export function bytesForHumans(bytes: Uint8Array): string {
  return `${bytes.length} bytes: ${base64Of(bytes)}`;
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

async function read(
  argument: string | undefined,
  file: string | undefined,
  { stdin, signal }: Terminal,
): Promise<string | undefined> {
  if (file !== undefined) {
    try {
      return await readFile(file, "utf8");
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ConfluoError("INVALID_ARGUMENT", `The file for the body cannot be read: ${reason}.`, {
        cause,
      });
    }
  }
  // Standard input is read only if the argument says so, because a script's standard input may be open without ever delivering
  // anything.
  if (argument !== "-") return argument;
  const leave = (): void => void stdin.destroy(new Error("interrupted"));
  signal.addEventListener("abort", leave, { once: true });
  try {
    return await text(stdin);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}
