/** Provides a global `require` for the module that is imported next. */

import { lendRequire } from "../../lent-require.ts";

lendRequire();
