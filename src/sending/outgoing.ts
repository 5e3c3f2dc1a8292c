/** A message that is to go out: checked, encoded and bounded. */

import type { AnySchema } from "../contract/schema.ts";
import type { MessageOptions } from "../options/verb-options.ts";
import { checkHeaders, type EncodedBody, encodeBody, encodeQuery, header } from "../protocol/codec.ts";
import { outgoingBody } from "../validation/sendable-body.ts";
import type { PreparedMessage } from "./pending-call.ts";
import { tooLarge } from "./publish-errors.ts";

/** What an outgoing message is made of. */
interface Ingredients {
  readonly path: string;
  /** What follows `?` in its target. */
  readonly query: string;
  /** The schema of its body, if it has a contract. */
  readonly schema: AnySchema | undefined;
  readonly body: unknown;
  readonly options: MessageOptions;
}

/** What bounds an outgoing message. */
export interface OutgoingLimits {
  /** Of a body, in bytes. */
  readonly maxBodyBytes: number;
  /** Whether the sending side validates, too. */
  readonly validates: boolean;
}

/**
 * Encodes a message at once, since its sender may go on to change what it passed.
 *
 * @throws what is wrong with the arguments.
 */
export function encodeOutgoing(
  ingredients: Ingredients,
  { maxBodyBytes: most, validates }: OutgoingLimits,
): PreparedMessage {
  const { path, query: inPath, schema, body, options } = ingredients;
  const query = encodeQuery(inPath, options.query);
  const own = options.headers === undefined ? undefined : checkHeaders(options.headers);
  const headers = query === "" ? own : { ...own, [header.query]: query };
  const bounded = (valid: EncodedBody): EncodedBody => {
    if (valid.length > most) throw tooLarge(path, valid.length, most);
    return valid;
  };
  if (schema === undefined || !validates)
    return { path, headers, body: bounded(encodeBody(body)), validate: undefined };
  const given = { body, code: "INVALID_INPUT", what: `The body for ${path}` } as const;
  return { path, headers, ...outgoingBody(schema, given, bounded) };
}
