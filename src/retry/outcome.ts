/** What becomes of a delivery. Pure: failure in, decision out. */

import { clip, describeThrown } from "../errors.ts";

/** Why a handler's work failed, told to whoever opens the dead letter. */
export interface Failure {
  readonly error: unknown;
  /** The pattern of the subscription that failed; absent for a command. */
  readonly subscription?: string;
}

/** How a delivery ends. Exactly one of these, once. */
export type Outcome =
  /** Handled, or answered: the broker forgets it. */
  | { readonly kind: "done" }
  /** Given up: a copy with its story goes to the dead-letter queue for each failure, then the broker forgets it. */
  | { readonly kind: "dead-letter"; readonly failures: readonly Failure[] }
  /** Not done with: back to the queue, for another instance. */
  | { readonly kind: "give-back" };

export const done: Outcome = { kind: "done" };
export const giveBack: Outcome = { kind: "give-back" };

/** Decides after every handler of a delivery has ended. */
export function decide(failures: readonly Failure[]): Outcome {
  return failures.length === 0 ? done : { kind: "dead-letter", failures };
}

/** The story of an error, as text. */
export interface Story {
  readonly name: string;
  /** Code of an error of confluo's own or of a `ServiceError`; `HANDLER_FAILED` for anything else. */
  readonly code: string;
  readonly message: string;
  readonly stack: string;
}

// Headers have a bound; the beginning of a stack is the part that says where.
const NAME_LENGTH = 200;
const MESSAGE_LENGTH = 2_000;
const STACK_LENGTH = 6_000;

export function storyOf(error: unknown): Story {
  const { name, message, stack, ours } = describeThrown(error);
  return {
    name: clip(name, NAME_LENGTH),
    code: ours !== undefined && name !== "RemoteError" ? clip(ours.code, NAME_LENGTH) : "HANDLER_FAILED",
    message: clip(message, MESSAGE_LENGTH),
    stack: clip(stack, STACK_LENGTH),
  };
}
