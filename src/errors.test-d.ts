import { describe, expectTypeOf, it } from "vitest";
import { ServiceError } from "./errors.ts";

describe("a service's error", () => {
  it("has the code that it was given", () => {
    expectTypeOf(new ServiceError("x", { code: "GONE" }).code).toEqualTypeOf<"GONE">();
    expectTypeOf(new ServiceError("x", { code: String(1) }).code).toEqualTypeOf<string>();
    expectTypeOf(new ServiceError("x", { code: "SERVICE_ERROR" }).code).toEqualTypeOf<"SERVICE_ERROR">();
  });
});
