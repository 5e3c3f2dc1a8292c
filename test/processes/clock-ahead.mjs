/** A host whose clock is a minute ahead. */

const RealDate = globalThis.Date;
const AHEAD_MS = 60_000;

globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + AHEAD_MS);
    else super(...args);
  }

  static now() {
    return RealDate.now() + AHEAD_MS;
  }
};
