export { conformance, type Topic } from "./conformance/index.ts";
export type { BrokerUnderTest, OpenBroker, TestRunner } from "./conformance/suite.ts";
export { eventually } from "./eventually.ts";
