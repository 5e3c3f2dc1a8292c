/** Arguments of the queues that events and one-way commands are kept in, as in the other programs that keep them. */
export const quorum = { "x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000 } as const;
