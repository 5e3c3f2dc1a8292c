/** What Prometheus would scrape, as series for `promtool test rules`. */

/** The samples of some scrapes, by series. */
export type Scrape = ReadonlyMap<string, number>;

/** A series, and its samples in promtool's notation, a minute apart. */
export interface InputSeries {
  readonly series: string;
  readonly values: string;
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;

/** Reads what an exporter wrote, with the labels that Prometheus adds. */
export function readScrape(
  text: string,
  target: { readonly job: string; readonly instance: string },
): Scrape {
  const added = `job="${target.job}",instance="${target.instance}"`;
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = SAMPLE.exec(line) ?? [];
    if (name === undefined) continue;
    samples.set(`${name}{${labels === "" ? added : `${labels},${added}`}}`, Number(value));
  }
  return samples;
}

/** Fetches and reads a scrape. */
export async function scrape(url: string, job: string): Promise<Scrape> {
  const response = await fetch(url);
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}`);
  return readScrape(await response.text(), { job, instance: new URL(url).host });
}

/** All of several scrapes. */
export function merged(...scrapes: readonly Scrape[]): Scrape {
  return new Map(scrapes.flatMap((each) => [...each]));
}
