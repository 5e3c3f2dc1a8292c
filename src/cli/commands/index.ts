/** All commands, in the order in which the help lists them. */

import type { CommandSetup } from "../broker-flags.ts";
import { benchCommand } from "./bench.ts";
import { brokerCommand } from "./broker.ts";
import { deadCommand } from "./dead.ts";
import { doctorCommand } from "./doctor.ts";
import { lsCommand } from "./ls.ts";
import { retryCommand } from "./retry.ts";
import { removeCommands } from "./rm.ts";
import { runCommand } from "./run.ts";
import { showCommand } from "./show.ts";
import { tailCommand } from "./tail.ts";
import { talkCommands } from "./talk.ts";

export const commands: readonly CommandSetup[] = [
  runCommand,
  lsCommand,
  showCommand,
  tailCommand,
  deadCommand,
  retryCommand,
  doctorCommand,
  removeCommands,
  talkCommands,
  brokerCommand,
  benchCommand,
];
