import { expect, it } from "vitest";
import { serviceSettings, subscribeSettings } from "./service-options.ts";

it("options that are undefined have their defaults, nested ones too", () => {
  const given = {
    timeoutMs: undefined,
    version: undefined,
    concurrency: { calls: undefined },
    retry: { attempts: undefined, backoff: { firstMs: undefined, maxMs: 5_000 } },
  };
  const service = serviceSettings(given);
  const defaults = serviceSettings(undefined);
  expect(service).toEqual({
    ...defaults,
    retry: { ...defaults.retry, backoff: { ...defaults.retry.backoff, maxMs: 5_000 } },
  });
  const subscribed = subscribeSettings(() => {}, { per: undefined, retry: { backoff: undefined } }, service);
  expect(subscribed).toMatchObject({ per: "service", retry: service.retry });
});
