/** A message that is to go out: checked, encoded and bounded. */

import type { AnySchema } from "../contract/schema.ts";
import { checkHeaders, type EncodedBody, encodeBody, encodeQuery, header } from "../protocol/codec.ts";
import type { MessageOptions } from "./options.ts";
import type { Outgoing } from "./pending-call.ts";
import { tooLarge } from "./request-errors.ts";
import { outgoingBody } from "./sendable-body.ts";

/** What an outgoing message is made of. */
interface Ingredients {
  readonly path: string;
  /** What follows `?` in its target. */
  readonly query: string;
  /** Its body is checked by this; absent if it is not checked here. */
  readonly schema: AnySchema | undefined;
  readonly body: unknown;
  readonly options: MessageOptions;
  readonly maxBodyBytes: () => number;
}

/**
 * Encodes a message at once, since its sender may go on to change what it passed.
 *
 * @throws what is wrong with the arguments.
 */
export function outgoing({
  path,
  query: inPath,
  schema,
  body,
  options,
  maxBodyBytes,
}: Ingredients): Outgoing {
  const query = encodeQuery(inPath, options.query);
  const own = options.headers === undefined ? undefined : checkHeaders(options.headers);
  const headers = query === "" ? own : { ...own, [header.query]: query };
  const bounded = (valid: EncodedBody): EncodedBody => {
    const most = maxBodyBytes();
    if (valid.length > most) throw tooLarge(path, valid.length, most);
    return valid;
  };
  if (schema === undefined) return { path, headers, body: bounded(encodeBody(body)), validate: undefined };
  const given = { body, code: "INVALID_INPUT", what: `The body for ${path}` } as const;
  return { path, headers, ...outgoingBody(schema, given, bounded) };
}
