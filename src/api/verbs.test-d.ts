import { type } from "arktype";
import * as v from "valibot";
import { describe, expectTypeOf, it } from "vitest";
import * as z from "zod";
import { type AnyCommand, command } from "../contract/command.ts";
import { type AnyEvent, event } from "../contract/event.ts";
import type { Reply } from "../protocol/reply.ts";
import type { Context } from "./context.ts";
import type {
  Answered,
  Bound,
  CallArguments,
  CommandHandler,
  CommandInput,
  EventHandler,
  EventInput,
  PublishArguments,
  SendArguments,
  Verbs,
} from "./verbs.ts";

declare const service: Verbs;
const ping = command("rooms", "/ping");
const started = event("/started");

// One contract per library, of one shape: text on the wire, a date and a number for whoever receives.
const zod = {
  input: z.object({ from: z.string().transform((text) => new Date(text)), nights: z.number().default(1) }),
  output: z.object({ until: z.string().transform((text) => new Date(text)) }),
};
const date = v.pipe(
  v.string(),
  v.transform((text) => new Date(text)),
);
const valibot = {
  input: v.object({ from: date, nights: v.optional(v.number(), 1) }),
  output: v.object({ until: date }),
};
const arktype = {
  input: type({ from: "string.date.parse", nights: "number = 1" }),
  output: type({ until: "string.date.parse" }),
};

describe("a command of zod", () => {
  const book = command("rooms", "/book", zod);

  it("flows from caller to handler", async () => {
    expectTypeOf(await service.call(book, { from: "2030-01-01" })).toEqualTypeOf<Reply<{ until: Date }>>();
    expectTypeOf(service.send(book, { from: "2030-01-01", nights: 2 })).toEqualTypeOf<Promise<void>>();
    service.route(book, ({ body }) => {
      expectTypeOf(body).toEqualTypeOf<{ from: Date; nights: number }>();
      return { until: "2030-01-02" };
    });
  });

  it("refuses what its schemas refuse", async () => {
    // @ts-expect-error a date is the output, not the input
    await service.call(book, { from: new Date() });
    // @ts-expect-error the input is missing
    await service.send(book);
    // @ts-expect-error a date is the output, not the input
    service.route(book, () => ({ until: new Date() }));
  });
});

describe("a command of valibot", () => {
  const book = command("rooms", "/book", valibot);

  it("flows from caller to handler", async () => {
    expectTypeOf(await service.call(book, { from: "2030-01-01" })).toEqualTypeOf<Reply<{ until: Date }>>();
    expectTypeOf(service.send(book, { from: "2030-01-01", nights: 2 })).toEqualTypeOf<Promise<void>>();
    service.route(book, ({ body }) => {
      expectTypeOf(body).toEqualTypeOf<{ from: Date; nights: number }>();
      return { until: "2030-01-02" };
    });
  });

  it("refuses what its schemas refuse", async () => {
    // @ts-expect-error a date is the output, not the input
    await service.call(book, { from: new Date() });
    // @ts-expect-error the input is missing
    await service.send(book);
    // @ts-expect-error a date is the output, not the input
    service.route(book, () => ({ until: new Date() }));
  });
});

describe("a command of arktype", () => {
  const book = command("rooms", "/book", arktype);

  it("flows from caller to handler", async () => {
    expectTypeOf(await service.call(book, { from: "2030-01-01" })).toEqualTypeOf<Reply<{ until: Date }>>();
    expectTypeOf(service.send(book, { from: "2030-01-01", nights: 2 })).toEqualTypeOf<Promise<void>>();
    service.route(book, ({ body }) => {
      expectTypeOf(body).toEqualTypeOf<{ from: Date; nights: number }>();
      return { until: "2030-01-02" };
    });
  });

  it("refuses what its schemas refuse", async () => {
    // @ts-expect-error a date is the output, not the input
    await service.call(book, { from: new Date() });
    // @ts-expect-error the input is missing
    await service.send(book);
    // @ts-expect-error a date is the output, not the input
    service.route(book, () => ({ until: new Date() }));
  });
});

describe("an event", () => {
  it("flows from publisher to handler", async () => {
    const events = [
      event("/booked", { body: zod.input }),
      event("/booked", { body: valibot.input }),
      event("/booked", { body: arktype.input }),
    ] as const;
    expectTypeOf<PublishArguments<(typeof events)[0]>[0]>().toEqualTypeOf<{
      from: string;
      nights?: number | undefined;
    }>();
    await service.publish(events[0], { from: "2030-01-01" });
    await service.publish(events[1], { from: "2030-01-01" });
    await service.publish(events[2], { from: "2030-01-01" });
    const received = <T extends AnyEvent>(_: T): Parameters<EventHandler<T>>[0]["body"] => undefined as never;
    expectTypeOf(received(events[0])).toEqualTypeOf<{ from: Date; nights: number }>();
    expectTypeOf(received(events[1])).toEqualTypeOf<{ from: Date; nights: number }>();
    expectTypeOf(received(events[2])).toEqualTypeOf<{ from: Date; nights: number }>();
  });

  it("gives its parameters to the handler", () => {
    service.subscribe(event("/rooms/:room/booked"), ({ params, body }) => {
      expectTypeOf(params).toEqualTypeOf<{ readonly room: string }>();
      expectTypeOf(body).toBeUnknown();
    });
  });

  it("may be handled without an answer, at once or later", () => {
    service.subscribe("/a", () => {}).subscribe("/b", async () => {});
  });
});

describe("a path", () => {
  it("gives parameters from the literal", () => {
    service.route("/orders/:id/lines/:line", (context) => {
      expectTypeOf(context.params).toEqualTypeOf<{ readonly id: string; readonly line: string }>();
      expectTypeOf(context.body).toBeUnknown();
    });
    service.subscribe("/orders/:id", ({ params }) =>
      expectTypeOf(params).toEqualTypeOf<{ readonly id: string }>(),
    );
    // @ts-expect-error the path has no parameters
    service.route("/orders", ({ params }) => params.id);
  });

  it("gives parameters by any name if it is not a literal", () => {
    const path: string = "/orders/:id";
    service.route(path, ({ params }) =>
      expectTypeOf(params).toEqualTypeOf<Readonly<Record<string, string>>>(),
    );
  });

  it("takes any body and answers unknown", async () => {
    expectTypeOf(await service.call("rooms", "/book")).toEqualTypeOf<Reply<unknown>>();
    expectTypeOf<CallArguments<"rooms">[0]>().toEqualTypeOf<string>();
    await service.call("rooms", "/book", null, { timeoutMs: 5 });
    await service.publish("/booked", new Uint8Array(1), { messageId: "1" });
    await service.publish("/booked", 1, { at: new Date() });
    await service.send("rooms", "/book", 1, { delayMs: 5 });
    // @ts-expect-error a number may be seconds or milliseconds
    await service.send("rooms", "/book", 1, { at: 5 });
    // @ts-expect-error a caller waits for the answer
    await service.call("rooms", "/book", 1, { delayMs: 5 });
    // @ts-expect-error the path is missing
    await service.send("rooms");
  });
});

describe("a command with parameters", () => {
  const getOrder = command("orders", "/orders/:id", { output: z.string() });

  it("is called with .at()", async () => {
    expectTypeOf(await service.call(getOrder.at({ id: 7 }))).toEqualTypeOf<Reply<string>>();
    // @ts-expect-error the parameter has no value
    await service.call(getOrder);
    // @ts-expect-error the parameter has no value
    await service.send(getOrder);
    // @ts-expect-error the parameter has no value
    await service.publish(event("/orders/:id"));
  });

  it("is routed as it is", () => {
    service.route(getOrder, ({ params }) => {
      expectTypeOf(params).toEqualTypeOf<{ readonly id: string }>();
      return params.id;
    });
  });

  it("is bound if nothing is known of its path", () => {
    expectTypeOf<Bound<AnyCommand>>().toBeUnknown();
    expectTypeOf<Bound<{ kind: "event"; path: string }>>().toBeUnknown();
  });
});

describe("a body", () => {
  it("may be left out where the schema takes undefined", async () => {
    await service.call(command("a", "/a", { input: z.string().optional() }));
    await service.call(command("a", "/a", { input: v.optional(v.string()) }));
    await service.call(command("a", "/a", { input: type("string | undefined") }));
    await service.publish(event("/a", { body: z.undefined() }));
  });

  it("is that of all, of a contract that may be one of several", async () => {
    const id = z.object({ id: z.string() });
    const either = [command("a", "/a", { input: id }), command("b", "/b", { input: id })][0];
    if (either !== undefined) await service.call(either, { id: "7" });
    const other = command("c", "/c", { input: z.object({ amount: z.number() }) });
    // @ts-expect-error it may be `other`
    if (either !== undefined) await service.call(Math.random() > 0.5 ? either : other, { id: "7" });
    expectTypeOf<CallArguments<"a" | "b">[0]>().toEqualTypeOf<string>();
  });

  it("is none where the contract declares none, and anything where that is not known", async () => {
    expectTypeOf<CommandInput<typeof ping>>().toEqualTypeOf<undefined>();
    expectTypeOf<EventInput<typeof started>>().toEqualTypeOf<undefined>();
    expectTypeOf<CommandInput<AnyCommand>>().toBeUnknown();
    expectTypeOf<EventInput<AnyEvent>>().toBeUnknown();
    // @ts-expect-error options in the place of a body
    await service.call(ping, { timeoutMs: 5 });
    // @ts-expect-error options in the place of a body
    await service.publish(started, { messageId: "1" });
    await service.call(ping, undefined, { timeoutMs: 5 });
  });

  it("may be left out where there is no schema", async () => {
    await service.call(command("a", "/a"));
    await service.send(command("a", "/a"), undefined, { messageId: "1" });
    await service.publish(event("/a"));
  });

  it("is checked in plain data as in a contract", async () => {
    const plain = { kind: "command", service: "a", path: "/a", input: z.number() } as const;
    await service.call(plain, 5);
    // @ts-expect-error the input is a number
    await service.call(plain, "5");
  });
});

describe("a handler's answer", () => {
  const state = command("rooms", "/state", { output: z.object({ state: z.enum(["on", "off"]) }) });

  it("may come at once, later, or with a status", () => {
    service.route(state, () => ({ state: "on" }));
    service.route(state, async () => ({ state: "on" }));
    service.route(state, ({ reply }) => reply({ state: "on" }, { status: 201 }));
    service.route(state, async ({ reply, attempt }) =>
      attempt > 1 ? { state: "off" } : reply({ state: "on" }, { status: 201 }),
    );
  });

  it("is checked however it comes", () => {
    // @ts-expect-error "broken" is no state
    service.route(state, () => ({ state: "broken" }));
    // @ts-expect-error "broken" is no state
    service.route(state, async () => ({ state: "broken" }));
    // @ts-expect-error "broken" is no state
    service.route(state, ({ reply }) => reply({ state: "broken" }));
    // @ts-expect-error there is no answer
    service.route(state, () => {});
  });

  it("may be anything where there is no schema", () => {
    service.route(command("rooms", "/x"), () => {}).route("/y", async ({ reply }) => reply([1]));
  });
});

describe("targets of the wrong kind", () => {
  it("are refused", async () => {
    const booked = event("/booked");
    const book = command("rooms", "/book");
    // @ts-expect-error an event is published
    await service.call(booked);
    // @ts-expect-error an event is published
    await service.send(booked);
    // @ts-expect-error a command is called or sent
    await service.publish(book);
    // @ts-expect-error an event is subscribed to
    service.route(booked, () => {});
    // @ts-expect-error a command is routed
    service.subscribe(book, () => {});
  });
});

describe("the verbs", () => {
  it("pass on the type of a handler's context", () => {
    const describeContext = (context: Context): string => context.path;
    service.subscribe(event("/rooms/:room", { body: zod.input }), (context) => describeContext(context));
    service.route(command("rooms", "/rooms/:room", zod), (context) => ({ until: describeContext(context) }));
  });

  it("return the service from route and subscribe", () => {
    expectTypeOf(service.route("/a", () => 1)).toEqualTypeOf<Verbs>();
  });

  it("can be implemented and wrapped without losing types", () => {
    class Face implements Verbs {
      async call<T extends string | AnyCommand>(
        _target: T & Bound<T>,
        ..._rest: CallArguments<T>
      ): Promise<Reply<Answered<T>>> {
        return undefined as never;
      }
      async send<T extends string | AnyCommand>(
        _target: T & Bound<T>,
        ..._rest: SendArguments<T>
      ): Promise<void> {}
      async publish<T extends string | AnyEvent>(
        _target: T & Bound<T>,
        ..._rest: PublishArguments<T>
      ): Promise<void> {}
      route<T extends string | AnyCommand>(_target: T, _handler: CommandHandler<T>): this {
        return this;
      }
      subscribe<T extends string | AnyEvent>(_target: T, _handler: EventHandler<T>): this {
        return this;
      }
    }
    const ask = <T extends AnyCommand>(target: T & Bound<T>, ...rest: CallArguments<T>) =>
      new Face().call(target, ...rest);
    expectTypeOf(ask(command("rooms", "/book", zod), { from: "2030-01-01" })).toEqualTypeOf<
      Promise<Reply<{ until: Date }>>
    >();
    expectTypeOf(new Face().route("/a", () => 1)).toEqualTypeOf<Face>();
  });
});
