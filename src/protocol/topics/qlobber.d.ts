/** The part of qlobber that topic-matcher.ts uses: it comes without types. */
declare module "qlobber" {
  interface QlobberOptions {
    readonly match_empty_levels?: boolean;
    readonly max_words?: number;
    readonly max_wildcard_somes?: number;
  }

  export class QlobberDedup<Value> {
    constructor(options?: QlobberOptions);
    add(topic: string, value: Value): this;
    remove(topic: string, value: Value): this;
    /** May be the matcher's own set: read it before the next change. */
    match(topic: string): ReadonlySet<Value>;
  }
}
