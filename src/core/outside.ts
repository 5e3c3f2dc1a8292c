/** The empty asynchronous context, for the core. */

export { apart, emptyResource, outside } from "../outside.ts";
