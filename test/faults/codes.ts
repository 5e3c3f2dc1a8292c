/** Which codes the verbs of a column may be rejected with. */

import type { ErrorCode } from "../../src/index.ts";
import { type Verb, verbs } from "./traffic.ts";

export interface CodesByKind {
  readonly call?: readonly ErrorCode[];
  readonly send?: readonly ErrorCode[];
  readonly publish?: readonly ErrorCode[];
}

/** What is left out has to succeed. */
export function allow({
  call = [],
  send = [],
  publish = [],
}: CodesByKind): Record<Verb, readonly ErrorCode[]> {
  const codes = (verb: Verb): readonly ErrorCode[] => {
    if (verb === "call") return call;
    return verb.startsWith("publish") ? publish : send;
  };
  return Object.fromEntries(verbs.map((verb) => [verb, codes(verb)])) as Record<Verb, readonly ErrorCode[]>;
}
