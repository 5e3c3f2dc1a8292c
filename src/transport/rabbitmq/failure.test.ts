import { describe, expect, it } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { connectFailure, isMissing, operationFailure } from "./failure.ts";

const address = "amqps://host:5671";

describe("a failed TLS connection", () => {
  it.each([
    ["SELF_SIGNED_CERT_IN_CHAIN", "tls.ca"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "tls.ca"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "tls.servername"],
    ["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "tls.cert and tls.key"],
    ["CERT_HAS_EXPIRED", "option tls"],
  ])("with %s names what to give", (code, advice) => {
    const error = connectFailure(Object.assign(new Error("why"), { code }), address);
    expect(error).toMatchObject({ code: "ACCESS_REFUSED", message: expect.stringContaining(advice) });
    expect(error.message).toContain(": why. ");
  });

  it("is told with OpenSSL's reason, without its addresses and source files", () => {
    const cause = Object.assign(
      new Error(
        "80CC6C36647F:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:../a.c:1:",
      ),
      { code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", reason: "tlsv13 alert certificate required" },
    );
    const { message } = connectFailure(cause, address);
    expect(message).toContain("do not fit: tlsv13 alert certificate required. Give");
  });

  it("by certificate speaks of the certificate, not of a password", () => {
    const cause = new Error("SASL mechanism EXTERNAL is not provided by the server");
    const { message } = connectFailure(cause, address);
    expect(message).toContain("the user whom the certificate names");
    expect(message).not.toContain("password");
  });
});

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

it("takes a queue or an exchange for missing only if the broker says so, not if its node is down or nobody answers", () => {
  const failure = (message: string) =>
    operationFailure(Object.assign(new Error(message), { code: 404 }), "inspect q");
  const said = (words: string) =>
    `Operation failed: QueueDeclare; 404 (NOT-FOUND) with message "NOT_FOUND - ${words}"`;
  const silent = new ConfluoError("UNAVAILABLE", "The broker did not inspect q within 5000 ms");
  expect(isMissing(failure(said("no queue 'q' in vhost '/'")), "queue")).toBe(true);
  expect(isMissing(failure(said("home node 'rabbit@a' of durable queue 'q' is down")), "queue")).toBe(false);
  expect(isMissing(silent, "queue")).toBe(false);
  expect(isMissing(failure(said("no exchange 'q' in vhost '/'")), "exchange")).toBe(true);
  expect(isMissing(failure(said("no exchange 'q' in vhost '/'")), "queue")).toBe(false);
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
