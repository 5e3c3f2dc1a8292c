/**
 * The contracts of a shop. In a real system, they would be a package that the services share. It needs no AMQP:
 * `confluo/contract`.
 */

import { command, event } from "confluo/contract";
import { z } from "zod";

export const charge = command("billing", "/charge", {
  input: z.object({ order: z.string(), amount: z.number().positive() }),
  output: z.object({ receipt: z.string(), at: z.iso.datetime().transform((text) => new Date(text)) }),
  errors: {
    CARD_DECLINED: { status: 402, data: z.object({ reason: z.string() }) },
  },
});

export const orderPaid = event("/orders/:id/paid", {
  body: z.object({ amount: z.number() }),
});
