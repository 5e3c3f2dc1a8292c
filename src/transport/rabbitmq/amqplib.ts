/** Imports amqplib, which requires modules of Node while it is loaded. The importer must call `takeBackRequire`. */

import "./lend-require.ts";

export { connect, credentials } from "amqplib";
