/** What the publishers send and the consumers handle: services, identities, and who is to fail on purpose. */

/** The services that handle. Both subscribe to every event; a command goes to one of them. */
export const serviceNames = ["north", "south"] as const;
export type ServiceName = (typeof serviceNames)[number];

/** The service whose instances publish, send and call. */
export const publisherName = "press";

/** The service that poison kills. The other one handles it like anything else. */
export const poisonedName: ServiceName = "south";

export type Verb = "publish" | "send" | "call";

/**
 * What is special about a message. `new`: only instances of the new version have a handler for it. `big`: its headers do
 * not fit into a frame of the sender's connection. `poison`: it kills the process that handles it.
 */
export type Trait = "plain" | "new" | "big" | "poison";

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

/** Waits between the tries of what fails: few and short, so that what fails for ever is dead soon after the faults end. */
export const retry = { attempts: 4, backoff: { firstMs: 250, maxMs: 1_000 } } as const;

/** An identity without spaces that says what the message is and for whom: `send.north.press-1.3.17.plain`. */
export function makeId(
  verb: Verb,
  to: ServiceName | "all",
  { origin, trait }: { readonly origin: string; readonly trait: Trait },
): string {
  return `${verb}.${to}.${origin}.${trait}`;
}

export interface Identity {
  readonly verb: Verb;
  readonly services: readonly ServiceName[];
  readonly trait: Trait;
}

export function readId(id: string): Identity {
  const parts = id.split(".");
  const [verb, to] = parts;
  if (verb !== "publish" && verb !== "send" && verb !== "call") throw new Error(`No identity: ${id}`);
  const services = serviceNames.filter((name) => to === "all" || to === name);
  return { verb, services, trait: (parts[5] ?? "plain") as Trait };
}

/** Whether it kills the instances of a service that handle it. */
export function isPoisonFor(service: ServiceName, { trait }: Identity): boolean {
  return trait === "poison" && service === poisonedName;
}

/** Path of a message: the handlers of the new version have paths of their own. */
export function pathOf(id: string): string {
  const { verb, trait } = readId(id);
  if (verb === "publish") return trait === "new" ? `/late/${id}` : `/happened/${id}`;
  return trait === "new" ? `/new/${id}` : `/do/${id}`;
}

/** The one right answer to a question. */
export function answerTo({ id, number }: Question): { readonly id: string; readonly twice: number } {
  return { id, twice: number * 2 };
}

export function isAnswerTo(question: Question, answer: unknown): boolean {
  const { id, twice } = (answer ?? {}) as { readonly id?: unknown; readonly twice?: unknown };
  return id === question.id && twice === question.number * 2;
}
