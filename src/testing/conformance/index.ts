/** The definition of 'a broker that confluo runs on', as tests. */

import { allowlist } from "./allowlist.ts";
import { calls } from "./calls.ts";
import { causes } from "./causes.ts";
import { contexts } from "./contexts.ts";
import { contracts } from "./contracts.ts";
import { cycles } from "./cycles.ts";
import { delays } from "./delays.ts";
import { discovery } from "./discovery.ts";
import { events } from "./events.ts";
import { expiry } from "./expiry.ts";
import { failedCalls } from "./failed-calls.ts";
import { foreign } from "./foreign.ts";
import { foreignGathering } from "./foreign-gathering.ts";
import { forgery } from "./forgery.ts";
import { gatheredAgain } from "./gathered-again.ts";
import { gatheredEvents } from "./gathered-events.ts";
import { gathering } from "./gathering.ts";
import { health } from "./health.ts";
import { leaving } from "./leaving.ts";
import { letters } from "./letters.ts";
import { lifecycle } from "./lifecycle.ts";
import { looks } from "./looks.ts";
import { mistakes } from "./mistakes.ts";
import { nameClashes } from "./name-clashes.ts";
import { oneWay } from "./one-way.ts";
import { orphans } from "./orphans.ts";
import { otherLanguages } from "./other-languages.ts";
import { overview } from "./overview.ts";
import { replay } from "./replay.ts";
import { retry } from "./retry.ts";
import { statistics } from "./statistics.ts";
import { type BrokerUnderTest, type Define, runTopics, type TestRunner } from "./suite.ts";
import { suspects } from "./suspects.ts";
import { together } from "./together.ts";
import { topology } from "./topology.ts";
import { waits } from "./waits.ts";
import { whoGathers } from "./who-gathers.ts";

/** A part of the suite. */
export type Topic =
  | "calls"
  | "failed calls"
  | "one-way commands"
  | "events"
  | "contracts"
  | "asynchronous contexts"
  | "foreign clients"
  | "lifecycle"
  | "health"
  | "coming and going"
  | "leaving together"
  | "mistakes"
  | "causes"
  | "retry"
  | "waits"
  | "delays"
  | "suspects"
  | "looks"
  | "topology"
  | "cycles"
  | "dead letters"
  | "replay"
  | "orphans and bindings"
  | "copies of foreign messages"
  | "gathering"
  | "gathered calls that come again"
  | "who gathers"
  | "gathered events"
  | "foreign gathered messages"
  | "discovery"
  | "statistics"
  | "services that are down"
  | "other languages"
  | "forged answers"
  | "names"
  | "expiry";

const topics: Readonly<Record<Topic, Define>> = {
  calls,
  "failed calls": failedCalls,
  "one-way commands": oneWay,
  events,
  contracts,
  "asynchronous contexts": contexts,
  "foreign clients": foreign,
  lifecycle,
  health,
  "coming and going": leaving,
  "leaving together": together,
  mistakes,
  causes,
  retry,
  waits,
  delays,
  suspects,
  looks,
  topology,
  cycles,
  "dead letters": letters,
  replay,
  "orphans and bindings": orphans,
  "copies of foreign messages": allowlist,
  gathering,
  "gathered calls that come again": gatheredAgain,
  "who gathers": whoGathers,
  "gathered events": gatheredEvents,
  "foreign gathered messages": foreignGathering,
  discovery,
  statistics,
  "services that are down": overview,
  "other languages": otherLanguages,
  "forged answers": forgery,
  names: nameClashes,
  expiry,
};

/**
 * Declares the conformance suite for one broker. The embedded broker and RabbitMQ pass the same tests.
 *
 * @param only The topics to declare. Default: all.
 * @example conformance({ describe, it }, { name: "embedded", open: async () => ({ broker: new Broker("memory:"), close: async () => {} }) });
 */
export function conformance(
  runner: TestRunner,
  under: BrokerUnderTest,
  only: readonly Topic[] = Object.keys(topics) as Topic[],
): void {
  runTopics(runner, under, Object.fromEntries(only.map((topic) => [topic, topics[topic]])));
}
