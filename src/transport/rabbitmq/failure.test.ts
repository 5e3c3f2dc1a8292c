import { describe, expect, it } from "vitest";
import { connectFailure } from "./failure.ts";

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
