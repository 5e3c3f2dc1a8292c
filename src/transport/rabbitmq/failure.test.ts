import { expect, it } from "vitest";
import { operationFailure } from "./failure.ts";

it("does not take a handler that exceeded the consumer timeout for a conflict of topology", () => {
  const cause = Object.assign(
    new Error(
      'Channel closed by server: 406 (PRECONDITION-FAILED) with message "PRECONDITION_FAILED - delivery acknowledgement on ' +
        "channel 2 timed out. Timeout value used: 1500 ms. This timeout value can be configured, see consumers doc guide " +
        'to learn more"',
    ),
    { code: 406 },
  );
  const error = operationFailure(cause, "consume from orders");
  expect(error).toMatchObject({ code: "UNAVAILABLE", cause });
  expect(error.message).toContain("consume from orders: a message was held for longer than 1500 ms");
});

it("takes a refused argument for one", () => {
  const cause = Object.assign(
    new Error(
      "Operation failed: QueueDeclare; 406 (PRECONDITION-FAILED) with message \"PRECONDITION_FAILED - inequivalent arg 'x-expires' " +
        "for queue 'orders' in vhost '/': received '1' but current is '2'\"",
    ),
    { code: 406 },
  );
  expect(operationFailure(cause, "declare orders")).toMatchObject({ code: "TOPOLOGY_CONFLICT" });
});
