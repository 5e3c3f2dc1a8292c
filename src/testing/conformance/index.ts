/** The definition of 'a broker that confluo runs on', as tests. */

import { allowlist } from "./allowlist.ts";
import { calls } from "./calls.ts";
import { contracts } from "./contracts.ts";
import { events } from "./events.ts";
import { foreign } from "./foreign.ts";
import { health } from "./health.ts";
import { leaving } from "./leaving.ts";
import { letters } from "./letters.ts";
import { lifecycle } from "./lifecycle.ts";
import { mistakes } from "./mistakes.ts";
import { oneWay } from "./one-way.ts";
import { orphans } from "./orphans.ts";
import { replay } from "./replay.ts";
import { retry } from "./retry.ts";
import { type BrokerUnderTest, runTopics, type TestRunner } from "./suite.ts";
import { suspects } from "./suspects.ts";
import { topology } from "./topology.ts";

/**
 * Declares the conformance suite for one broker. The embedded broker and RabbitMQ pass the same tests.
 *
 * @example conformance({ describe, it }, { name: "embedded", open: async () => ({ broker: new Broker("memory:"), close: async () => {} }) });
 */
export function conformance(runner: TestRunner, under: BrokerUnderTest): void {
  runTopics(runner, under, {
    calls,
    "one-way commands": oneWay,
    events,
    contracts,
    "foreign clients": foreign,
    lifecycle,
    health,
    "coming and going": leaving,
    mistakes,
    retry,
    suspects,
    topology,
    "dead letters": letters,
    replay,
    "orphans and bindings": orphans,
    "copies of foreign messages": allowlist,
  });
}
