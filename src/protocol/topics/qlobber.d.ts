/** The types of the part of qlobber that topic-matcher.ts uses, because qlobber has none. */
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
    /** The set may be the matcher's own: read it before the next change. */
    match(topic: string): ReadonlySet<Value>;
  }
}
