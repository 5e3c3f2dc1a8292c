/** The topics that gathering touches: those of tests that make calls. */

import type { Topic } from "../../src/testing/index.ts";

export const callingTopics: readonly Topic[] = [
  "calls",
  "failed calls",
  "contracts",
  "asynchronous contexts",
  "foreign clients",
  "lifecycle",
  "coming and going",
  "mistakes",
  "suspects",
  "topology",
];
