/** qlobber, which asks for modules of Node's own while it is loaded. Whoever imports this takes back what is lent to it. */

import "../../lent-require.ts";

export { QlobberDedup } from "qlobber";
