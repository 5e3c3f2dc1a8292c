import { describe, expect, it } from "vitest";
import { ConfluoError } from "../../errors.ts";
import { brokenFailure, connectFailure, consumerCancelled, isMissing, operationFailure } from "./failure.ts";

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

describe("a limit of the broker is named as one", () => {
  const closed = (code: number, words: string): Error =>
    Object.assign(new Error(`Channel closed by server: ${code} (X) with message "${words}"`), { code });

  it.each([
    ["connections", "NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached"],
    [
      "connections",
      "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached",
    ],
    ["connections", "NOT_ALLOWED - connection refused: node connection limit (1) is reached"],
  ])("of %s, when a connection is refused", (limit, words) => {
    const cause = new Error("Expected ConnectionOpenOk; got <ConnectionClose channel:0>");
    const error = connectFailure(cause, address, words);
    expect(error).toMatchObject({ code: "UNAVAILABLE", data: { limit }, cause });
    expect(error.message).toContain(words.slice("NOT_ALLOWED - ".length));
  });

  it.each([
    [
      "queues",
      closed(406, "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost 'v' (5) is reached"),
    ],
    [
      "queues",
      closed(406, "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in cluster (5) is reached"),
    ],
    [
      "exchanges",
      closed(406, "PRECONDITION_FAILED - cannot declare exchange 'e': exchange limit of 5 is reached"),
    ],
    ["channels", new Error("No channels left to allocate")],
  ])("of %s, when something is declared or opened", (limit, cause) => {
    expect(operationFailure(cause, "declare the queue q")).toMatchObject({
      code: "UNAVAILABLE",
      data: { limit },
    });
  });

  it.each([
    "number of channels opened for user 'u' has reached the maximum allowed user limit of (3)",
    "number of channels opened for user 'u' has reached the maximum allowed user limit of 3",
    "number of channels opened on node 'n' has reached the maximum allowed limit of (3)",
  ])("of channels, when it ends the connection: %s", (words) => {
    const error = brokenFailure(closed(530, `NOT_ALLOWED - ${words}`), address);
    expect(error).toMatchObject({ code: "CONNECTION_LOST", data: { limit: "channels" } });
    expect(error.message).toContain(words);
  });

  it("of consumers, when it ends the connection", () => {
    const words = "NOT_ALLOWED - reached maximum (4) of consumers per channel";
    const error = brokenFailure(closed(530, words), address);
    expect(error).toMatchObject({ code: "CONNECTION_LOST", data: { limit: "consumers" } });
    expect(error.message).toContain("consumer_max_per_channel");
  });

  it("and a vhost that is not there is none", () => {
    const cause = new Error("Expected ConnectionOpenOk; got <ConnectionClose channel:0>");
    const error = connectFailure(cause, address, "NOT_ALLOWED - vhost v not found");
    expect(error).toMatchObject({
      code: "ACCESS_REFUSED",
      message: expect.stringContaining("vhost v not found"),
    });
  });
});

it("a refusal that the broker gives no reason for may be over: it does not end a service", () => {
  const cause = new Error("Expected ConnectionOpenOk; got <ConnectionClose channel:0>");
  // The code of what is tried again until the deadline.
  for (const words of [
    undefined,
    "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    "INTERNAL_ERROR - access to vhost 'v' refused for user 'u': vhost 'v' is down",
  ])
    expect(connectFailure(cause, address, words)).toMatchObject({ code: "BROKER_UNREACHABLE", cause });
});

it("a consumer that the broker cancelled is told with what may have been the cause, and its cure", () => {
  const told = consumerCancelled("consume from q");
  expect(told).toMatchObject({ code: "UNAVAILABLE" });
  expect(told.message).toMatch(/its queue was deleted.*consumer_timeout/);
  const held = consumerCancelled("consume from q", 1_800_000);
  expect(held.message).toMatch(/held for 1800000 ms.*Keep the timeoutMs of route and subscribe below/);
  const cause = Object.assign(new Error("the broker cancelled the consumer"), { code: 404 });
  expect(operationFailure(cause, "consume from q").message).toBe(told.message);
});
