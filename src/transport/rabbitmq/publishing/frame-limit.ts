/** The limit on the properties of a message: if one frame cannot hold them, the broker would close the connection. */

import { ConfluoError } from "../../../errors.ts";
import { propertyBytes } from "../../../protocol/encoding/property-size.ts";
import type { Message } from "../../../protocol/message.ts";

/** Returns the error for a message whose properties take more than `most` bytes; `undefined` for any other. */
export function tooMuchForAFrame({ properties }: Message, most: number): ConfluoError | undefined {
  // Without headers they always fit, because all other properties together are smaller than the smallest frame of AMQP.
  if (properties.headers === undefined) return undefined;
  const bytes = propertyBytes(properties);
  if (bytes <= most) return undefined;
  return new ConfluoError(
    "INVALID_ARGUMENT",
    `Its headers and other properties take ${bytes} bytes, and this connection takes ${most} of them: put what is large ` +
      "into the body, or raise frame_max at the broker and frameMax in its URL.",
  );
}
