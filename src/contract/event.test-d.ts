import { type } from "arktype";
import * as v from "valibot";
import { expectTypeOf, it } from "vitest";
import * as z from "zod";
import { type AnyEvent, event } from "./event.ts";
import type { ParamNames, PathParams } from "./path.ts";

it("an event keeps the type of its schema and its path", () => {
  const zod = z.object({ total: z.number() });
  const valibot = v.object({ total: v.number() });
  const arktype = type({ total: "number" });
  expectTypeOf(event("/placed", { body: zod }).body).toEqualTypeOf(zod);
  expectTypeOf(event("/placed", { body: valibot }).body).toEqualTypeOf(valibot);
  expectTypeOf(event("/placed", { body: arktype }).body).toEqualTypeOf(arktype);
  expectTypeOf(event("/placed").body).toEqualTypeOf<undefined>();
  expectTypeOf(event("/placed").path).toEqualTypeOf<"/placed">();
});

it("an event is plain data for the verbs, also after .at()", () => {
  const placed = event("/orders/:id/placed", { body: z.string() });
  expectTypeOf(placed).toExtend<AnyEvent>();
  expectTypeOf(placed.at({ id: 7 })).toExtend<AnyEvent>();
  // @ts-expect-error the parameter is `id`
  placed.at({ order: 7 });
});

it("parameters are the whole segments that start with a colon", () => {
  expectTypeOf<ParamNames<"/orders/:id/lines/:line">>().toEqualTypeOf<"id" | "line">();
  expectTypeOf<ParamNames<":id">>().toEqualTypeOf<"id">();
  expectTypeOf<ParamNames<"/a:b/c:d">>().toBeNever();
  expectTypeOf<ParamNames<"">>().toBeNever();
  expectTypeOf<ParamNames<string>>().toEqualTypeOf<string>();
  expectTypeOf<ParamNames<`/orders/${string}`>>().toEqualTypeOf<string>();
});

it("parameters reach a handler as text", () => {
  expectTypeOf<PathParams<"/orders/:id">>().toEqualTypeOf<{ readonly id: string }>();
  expectTypeOf<keyof PathParams<"/orders">>().toBeNever();
  expectTypeOf<PathParams<string>>().toEqualTypeOf<Readonly<Record<string, string>>>();
});
