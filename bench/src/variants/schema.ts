import { z } from "zod";

/** What a body looks like, for the cases that check it. */
export const bodySchema = z.object({ id: z.number(), text: z.string() });
