/** `confluo retry`: brings forward what waits for another try. */

import { type BrokerFlags, brokerOf, type CommandSetup, limitsOf, withBrokerFlags } from "../broker-flags.ts";
import { counted } from "../checks/checks.ts";
import { writeJson, writeLine } from "../terminal.ts";

export const retryCommand: CommandSetup = (program, terminal) => {
  withBrokerFlags(
    program
      .command("retry <service>")
      .description(
        "try the messages of a service again now that failed and wait for their next try; delayed messages keep waiting, and dead letters stay (dead replay)",
      ),
    "60s",
  ).action(async (service: string, flags: BrokerFlags) => {
    const retried = await brokerOf(flags, terminal).retry(service, limitsOf(flags, terminal));
    if (flags.json) writeJson(terminal, { service, retried });
    else
      writeLine(
        terminal.stdout,
        retried === 0
          ? `No message of ${service} waits for another try.`
          : `${counted(retried, "message")} of ${service} ${retried === 1 ? "is" : "are"} tried again now.`,
      );
  });
};
