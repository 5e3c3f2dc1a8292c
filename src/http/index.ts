export { type Observed, type ObserveOptions, observe } from "./observe.ts";
