/** confluo as it is built in the folder above: what is measured is what is there, not what was published last. */

export { command, event } from "../../dist/contract/index.js";
export { Broker, Service, type ServiceOptions } from "../../dist/index.js";
