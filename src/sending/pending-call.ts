/** A call that waits for its answer. */

import type { Reply } from "../api/context.ts";
import type { DeadlineScope } from "../async/deadline-scope.ts";
import { TimedPromise, timedOut } from "../async/timed-promise.ts";
import type { AnyCommand } from "../contract/command.ts";
import type { ConfluoError } from "../errors.ts";
import { Secrets } from "../identity.ts";
import { EncodedBody } from "../protocol/codec.ts";
import type { Rejection } from "../transport/transport.ts";
import { rejected } from "./publish-errors.ts";

/** A command to call or send, whether it came as names or as a contract. */
export interface Command {
  readonly service: string;
  readonly target: string;
  readonly contract: AnyCommand | undefined;
}

/** A message before it goes out. */
export interface PreparedMessage {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly body: EncodedBody;
  /**
   * Resolves with the body to send, or rejects with `INVALID_INPUT`. Waits for the schema, which may take its time or never
   * end; absent if nothing is to be waited for.
   */
  readonly validate: (() => Promise<EncodedBody>) | undefined;
}

/** What a call needs of those that it is one of. */
export interface CallDetails {
  readonly command: Command;
  readonly outgoing: PreparedMessage;
  /** What it is made in, if that is a handler: told when it waits no longer. */
  readonly scope: DeadlineScope | undefined;
  readonly of: {
    /** The body is no longer held here. */
    release(bytes: number): void;
    /** It waits no longer. */
    remove(call: PendingCall): void;
    /** Its deadline has passed. */
    unanswered(): void;
    /** It is about to fail. */
    failing(call: PendingCall): void;
  };
}

/** From the moment it is made until it has its answer, or none is waited for any more. */
export class PendingCall extends TimedPromise<Reply> {
  /** Where it stands among {@link PendingCalls}, which alone write it. */
  place = -1;
  /** How many there were when it came. Together with its secret and its place, its `correlation_id`. */
  serial = 0;
  /** Random: without it, any service that was called once could answer the calls to others. */
  secret = "";
  /** Whether it was handed over within the process. */
  isNear = false;
  readonly service: string;
  readonly contract: AnyCommand | undefined;
  readonly path: string;
  headers: PreparedMessage["headers"];
  readonly #of: CallDetails["of"];
  readonly scope: CallDetails["scope"];
  /** As text, if it is only kept in case it has to go out again. */
  #body: EncodedBody | string | undefined;

  constructor(ms: number, { command, outgoing, scope, of }: CallDetails) {
    super(ms);
    this.service = command.service;
    this.contract = command.contract;
    this.path = outgoing.path;
    this.headers = outgoing.headers;
    this.#body = outgoing.body;
    this.#of = of;
    this.scope = scope;
  }

  /** `undefined` once it is on its way for good. */
  get body(): EncodedBody | undefined {
    return typeof this.#body === "string" ? new EncodedBody(this.#body) : this.#body;
  }

  /** The broker has said what became of it. */
  settle(rejection?: Rejection, why?: ConfluoError): void {
    if (rejection !== undefined) this.reject(rejected(rejection, this.service, this.path, why));
  }

  /** What is left of its deadline, in whole milliseconds. */
  leftMs(): number {
    return Math.floor(this.dueAt - performance.now());
  }

  /** It was checked, and this is the body to send. */
  replaceBody(body: EncodedBody): void {
    const before = this.body;
    if (this.over || before === undefined) return;
    this.#of.release(before.length - body.length);
    this.#body = body;
  }

  /** Its body is on its way, and may be asked for again. */
  keep(): void {
    if (typeof this.#body === "object") this.#body = this.#body.json;
  }

  /** Its body is on its way, and will not be asked for again: others account for it now. */
  release(): void {
    const { body } = this;
    if (body === undefined) return;
    this.#of.release(body.length);
    this.#body = undefined;
  }

  /** The error of one that would have to be answered before it is made. */
  tooLate(): ConfluoError {
    return timedOut({ ms: 0, what: `${this.what}: the caller's own deadline has passed` });
  }

  override pass(): void {
    super.pass();
    this.#of.unanswered();
  }

  override reject(error: unknown): void {
    if (!this.over) this.#of.failing(this);
    super.reject(error);
  }

  protected override get what(): string {
    return `${this.service} to answer ${this.path}`;
  }

  protected override ended(): void {
    this.release();
    this.scope?.goesOn();
    this.#of.remove(this);
  }
}

/**
 * All that wait for their answer. The place of each is part of its id: a `Map` by id would be rebuilt over and over as they
 * come and go, as {@link SlotSet} says. The id is made when it is needed: it would be a tenth of what a waiting call takes.
 */
export class PendingCalls {
  readonly #instance: string;
  readonly #places: (PendingCall | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #secrets = new Secrets();
  #size = 0;
  #count = 0;

  /** @param instance begins each id: no other instance has one of these. */
  constructor(instance: string) {
    this.#instance = instance;
  }

  get size(): number {
    return this.#size;
  }

  add(call: PendingCall): void {
    call.place = this.#free.pop() ?? this.#places.length;
    call.serial = ++this.#count;
    call.secret = this.#secrets.next();
    this.#places[call.place] = call;
    this.#size += 1;
  }

  /** What its reply has as `correlation_id`. */
  idOf({ secret, serial, place }: PendingCall): string {
    return `${this.#instance}-${secret}-${serial}.${place}`;
  }

  find(id: string): PendingCall | undefined {
    const call = this.#places[Number(id.slice(id.lastIndexOf(".") + 1))];
    return call !== undefined && this.idOf(call) === id ? call : undefined;
  }

  delete(call: PendingCall): void {
    const { place } = call;
    if (this.#places[place] !== call) return;
    this.#places[place] = undefined;
    this.#free.push(place);
    this.#size -= 1;
  }

  list(): readonly PendingCall[] {
    return this.#places.filter((call) => call !== undefined);
  }
}
