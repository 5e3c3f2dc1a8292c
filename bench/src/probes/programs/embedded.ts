/** Calls within one process: on the embedded broker, or on nothing but a matcher of topics and JSON. */

import { TopicMatcher } from "../../../../dist/protocol/topics/topic-matcher.js";
import { plainCalls } from "../../case.ts";
import { send } from "../../load.ts";
import { WARM_UP_SHARE } from "../../measure.ts";
import type { Body, Requester } from "../../variants/variant.ts";
import { callService, requesterOf } from "./embedded-requester.ts";
import { sendFigures } from "./sending.ts";

const [variant, seconds] = process.argv.slice(2);
const ms = Number(seconds) * 1_000;
const requester = requesterOf(variant === "matcher" ? callMatcher() : await callService());

await send(requester, plainCalls, ms * WARM_UP_SHARE);
const before = process.cpuUsage();
const { count, beganAt, endedAt } = await send(requester, plainCalls, ms);
const { user, system } = process.cpuUsage(before);
sendFigures({ perSecond: (count / (endedAt - beganAt)) * 1_000, cpuUs: (user + system) / count });

// The least that it takes to be a message: a body to bytes and back on both legs, a pattern in between.
function callMatcher(): Requester["call"] {
  const matcher = new TopicMatcher<(body: Buffer) => Promise<Buffer>>();
  matcher.add("service.work", async (bytes) => encode(decode(bytes)));
  return async (body) => {
    const [handler] = matcher.match("service.work");
    if (handler === undefined) throw new Error("The matcher has lost its pattern.");
    return decode(await handler(encode(body)));
  };
}

function encode(body: Body): Buffer {
  return Buffer.from(JSON.stringify(body));
}

function decode(bytes: Buffer): Body {
  return JSON.parse(bytes.toString()) as Body;
}
