/** Lends a `require` to the module that is imported next. */

import { lendRequire } from "../../lent-require.ts";

lendRequire();
