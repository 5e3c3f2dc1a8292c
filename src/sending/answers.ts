/** Answers, as those who called get them. */

import type { Reply } from "../api/context.ts";
import { declaredError } from "../contract/declared-errors.ts";
import { errorFromWire, RemoteError } from "../errors.ts";
import type { ReceivedReply } from "../protocol/reply.ts";
import { validated } from "../validation/validated.ts";
import type { PendingCall } from "./pending-call.ts";

/** Returns what a call resolves with: an answer of 400 and above is an error; any other is what the contract says. */
export function accepted(
  reply: ReceivedReply & Reply,
  { service, contract, path }: PendingCall,
): Reply | Promise<Reply> {
  const { status, headers, body } = reply;
  if (status >= 400) {
    const message = `${service} answered ${path} with status ${status}.`;
    throw new RemoteError("SERVICE_ERROR", message, { service, path, status, data: body });
  }
  const output = contract?.output;
  if (output === undefined) return { status, headers, body };
  const parsed = validated(output, body, "INVALID_OUTPUT", `The answer of ${path}`);
  return parsed.then((value) => ({ status, headers, body: value }));
}

/** Rejects with the error that was answered. The data of a declared error is transformed by its schema, like an answer. */
export async function refused(
  { error, status }: ReceivedReply & { readonly kind: "error" },
  { service, contract, path }: PendingCall,
): Promise<never> {
  const received = errorFromWire(error, { service, path, status });
  throw contract?.errors === undefined ? received : await declaredError(contract, received);
}
