/** Imports qlobber, which requires modules of Node while it is loaded. The importer must call `takeBackRequire`. */

import "../../lent-require.ts";

export { QlobberDedup } from "qlobber";
