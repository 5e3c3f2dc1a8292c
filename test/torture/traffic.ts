/** What the publishers send and the consumers handle: services, identities, and who is to fail on purpose. */

/** The services that handle. Both subscribe to every event; a command goes to one of them. */
export const serviceNames = ["north", "south"] as const;
export type ServiceName = (typeof serviceNames)[number];

/** The service whose instances publish, send and call. */
export const publisherName = "press";

export type Verb = "publish" | "send" | "call";

/** What the handler is to do: `at first` fails while `attempt` is 1. */
export type Fails = "never" | "at first" | "for ever";

/** Body of every message. */
export interface Question {
  readonly id: string;
  readonly number: number;
  readonly fails: Fails;
}

/** Code of the error that handlers throw on purpose. */
export const onPurpose = "ON_PURPOSE";

/** Deadline of every verb, and how much longer it may take to settle before it counts as hung. */
export const deadlineMs = 8_000;
export const graceMs = 3_000;

/** An identity without spaces that says what the message is and for whom: `send.north.press-1.3.17`. */
export function makeId(verb: Verb, to: ServiceName | "all", origin: string): string {
  return `${verb}.${to}.${origin}`;
}

export function readId(id: string): { readonly verb: Verb; readonly services: readonly ServiceName[] } {
  const [verb, to] = id.split(".");
  if (verb !== "publish" && verb !== "send" && verb !== "call") throw new Error(`No identity: ${id}`);
  return { verb, services: serviceNames.filter((name) => to === "all" || to === name) };
}

/** The one right answer to a question. */
export function answerTo({ id, number }: Question): { readonly id: string; readonly twice: number } {
  return { id, twice: number * 2 };
}

export function isAnswerTo(question: Question, answer: unknown): boolean {
  const { id, twice } = (answer ?? {}) as { readonly id?: unknown; readonly twice?: unknown };
  return id === question.id && twice === question.number * 2;
}
