export { type ObserveOptions, observe } from "./observe.ts";
export type { Observed } from "./observed.ts";
