export type { Observed } from "./listen.ts";
export { type ObserveOptions, observe } from "./observe.ts";
