import { type } from "arktype";
import * as v from "valibot";
import { describe, expectTypeOf, it } from "vitest";
import * as z from "zod";
import { type AnyCommand, command } from "./command.ts";
import type { DeclaredErrorOf } from "./declared-errors.ts";
import type { SchemaInput, SchemaOutput } from "./schema.ts";

describe("a command", () => {
  it("keeps the types of its schemas and its path", () => {
    const input = z.object({ amount: z.number() });
    const charge = command("billing", "/charge", { input });
    expectTypeOf(charge.input).toEqualTypeOf(input);
    expectTypeOf(charge.output).toEqualTypeOf<undefined>();
    expectTypeOf(charge.path).toEqualTypeOf<"/charge">();
    expectTypeOf(charge).toExtend<AnyCommand>();
  });

  it("is plain data for the verbs, also after .at()", () => {
    const getOrder = command("orders", "/orders/:id", { output: z.string(), errors: { GONE: {} } });
    expectTypeOf(getOrder.at({ id: 7 })).toExtend<AnyCommand>();
    expectTypeOf(getOrder.at({ id: 7 }).path).toEqualTypeOf<string>();
    expectTypeOf(getOrder.at({ id: 7 }).pattern).toEqualTypeOf<"/orders/:id">();
  });

  it("takes a value for each parameter", () => {
    const getLine = command("orders", "/orders/:id/lines/:line");
    expectTypeOf(getLine.at)
      .parameter(0)
      .toEqualTypeOf<{ readonly id: string | number; readonly line: string | number }>();
    // @ts-expect-error `line` is missing
    getLine.at({ id: 7 });
    // @ts-expect-error a boolean is no value
    getLine.at({ id: 7, line: true });
    // @ts-expect-error the path has no parameters
    command("orders", "/orders").at({ id: 7 });
  });

  it("takes values by any name if its path is not a literal", () => {
    const path: string = "/orders/:id";
    expectTypeOf(command("orders", path).at)
      .parameter(0)
      .toEqualTypeOf<{ readonly [name: string]: string | number }>();
  });
});

describe("input and output", () => {
  it("are those of a zod schema", () => {
    const schema = z.object({ at: z.string().transform((text) => new Date(text)), n: z.number().default(1) });
    expectTypeOf<SchemaInput<typeof schema>>().toEqualTypeOf<{ at: string; n?: number | undefined }>();
    expectTypeOf<SchemaOutput<typeof schema>>().toEqualTypeOf<{ at: Date; n: number }>();
  });

  it("are those of a valibot schema", () => {
    const schema = v.object({
      at: v.pipe(
        v.string(),
        v.transform((text) => new Date(text)),
      ),
      n: v.optional(v.number(), 1),
    });
    expectTypeOf<SchemaInput<typeof schema>>().toEqualTypeOf<{ at: string; n?: number | undefined }>();
    expectTypeOf<SchemaOutput<typeof schema>>().toEqualTypeOf<{ at: Date; n: number }>();
  });

  it("are those of an arktype schema", () => {
    const schema = type({ at: "string.date.parse", n: "number = 1" });
    expectTypeOf<SchemaInput<typeof schema>>().toEqualTypeOf<{ at: string; n?: number }>();
    expectTypeOf<SchemaOutput<typeof schema>>().toEqualTypeOf<{ at: Date; n: number }>();
  });

  it("are unknown without a schema", () => {
    expectTypeOf<SchemaInput<undefined>>().toBeUnknown();
    expectTypeOf<SchemaOutput<undefined>>().toBeUnknown();
  });
});

describe("declared errors", () => {
  const charge = command("billing", "/charge", {
    errors: {
      CARD_DECLINED: { status: 402, data: z.object({ reason: z.string() }) },
      LIMIT: v.object({ left: v.pipe(v.string(), v.transform(Number)) }),
      LATER: type({ at: "string.date.parse" }),
      NOTE: z.string().optional(),
      CLOSED: { status: 410 },
    },
  });

  it("are made with the input of their schema", () => {
    charge.error("CARD_DECLINED", { reason: "expired" });
    charge.error("LIMIT", { left: "5" }, "not that much");
    charge.error("LATER", { at: "2030-01-01" });
    expectTypeOf(charge.error("CLOSED").code).toEqualTypeOf<"CLOSED">();
    // @ts-expect-error the data is missing
    charge.error("LATER");
    // @ts-expect-error a date is the output, not the input
    charge.error("LATER", { at: new Date() });
    // @ts-expect-error no such code
    charge.error("OTHER");
  });

  it("may leave out data that may be undefined or has no schema", () => {
    charge.error("NOTE");
    charge.error("NOTE", "hello");
    charge.error("CLOSED", { anything: 1 }, "closed");
  });

  it("are caught as a union told apart by code, with the output of their schema", () => {
    const error: unknown = undefined;
    if (!charge.isError(error)) return;
    expectTypeOf(error.code).toEqualTypeOf<"CARD_DECLINED" | "LIMIT" | "LATER" | "NOTE" | "CLOSED">();
    switch (error.code) {
      case "CARD_DECLINED":
        return expectTypeOf(error.data).toEqualTypeOf<{ reason: string }>();
      case "LIMIT":
        return expectTypeOf(error.data).toEqualTypeOf<{ left: number }>();
      case "LATER":
        return expectTypeOf(error.data).toEqualTypeOf<{ at: Date }>();
      case "NOTE":
        return expectTypeOf(error.data).toEqualTypeOf<string | undefined>();
      case "CLOSED":
        return expectTypeOf(error.data).toBeUnknown();
      default:
        return expectTypeOf(error).toBeNever();
    }
  });

  it("are errors with status and message", () => {
    expectTypeOf<DeclaredErrorOf<typeof charge.errors>>().toExtend<Error & { readonly status: number }>();
  });

  it("are none of a contract that declares none", () => {
    expectTypeOf<DeclaredErrorOf<ReturnType<typeof command<"/ping">>["errors"]>>().toBeNever();
    // @ts-expect-error no code is declared
    command("billing", "/ping").error("CLOSED");
  });

  it("do not take a code of confluo's own", () => {
    // @ts-expect-error TIMEOUT is a code of confluo's own
    command("billing", "/charge", { errors: { TIMEOUT: z.string() } });
    // @ts-expect-error NO_STREAMS is a code of a later release
    command("billing", "/charge", { errors: { NO_STREAMS: z.string() } });
    // @ts-expect-error the same of valibot
    command("billing", "/charge", { errors: { TIMEOUT: v.string() } });
    // @ts-expect-error the same of arktype
    command("billing", "/charge", { errors: { TIMEOUT: type("string") } });
    // @ts-expect-error and with a status only
    command("billing", "/charge", { errors: { SERVICE_ERROR: { status: 500 } } });
  });

  it("do not take what is neither a schema nor a declaration", () => {
    // @ts-expect-error a string
    command("billing", "/charge", { errors: { DECLINED: "declined" } });
    // @ts-expect-error a misspelt field beside a right one
    command("billing", "/charge", { errors: { DECLINED: { status: 402, date: z.string() } } });
  });
});
