/** `confluo rm` and `confluo unbind`: remove queues and bindings that are no longer needed. */

import { ConfluoError, isConfluoError, type RemovedQueue } from "../../index.ts";
import { type BrokerFlags, brokerOf, type CommandSetup, limitsOf, withBrokerFlags } from "../broker-flags.ts";
import { counted } from "../checks/checks.ts";
import { confirm } from "../confirm.ts";
import { knownServicesAt } from "../state/kept-names.ts";
import { writeJson, writeLine } from "../terminal.ts";

interface RemoveFlags extends BrokerFlags {
  readonly force?: true;
  readonly yes?: true;
}

interface UnbindFlags extends BrokerFlags {
  readonly force?: true;
}

export const removeCommands: CommandSetup = (program, terminal) => {
  withBrokerFlags(
    program
      .command("rm <service>")
      .description(
        "remove the queues of a service that was retired, and forget its name; the queues have to be empty and without consumers",
      )
      .option("--force", "also remove queues that have consumers, or messages, which are then lost")
      .option("-y, --yes", "do not ask for confirmation"),
  ).action(async (service: string, flags: RemoveFlags) => {
    const broker = brokerOf(flags, terminal);
    const limits = limitsOf(flags, terminal);
    const force = flags.force === true;
    if (!flags.yes) {
      const what = force ? "its queues and all messages in them" : "its queues";
      await confirm(
        terminal,
        `Remove ${service} from ${broker.namespace} at ${broker.description}, ${what}?`,
      );
    }
    const known = knownServicesAt(broker, terminal);
    const removed = await broker.removeService(service, { ...limits, force }).catch((error: unknown) => {
      if (isConfluoError(error, "NO_SUCH_SERVICE")) known.forget(service);
      return advise(service)(error);
    });
    known.forget(service);
    if (flags.json) writeJson(terminal, { removed });
    else for (const queue of removed) writeLine(terminal.stdout, lineOf(queue));
  });
  withBrokerFlags(
    program
      .command("unbind <service> <pattern>")
      .description(
        "remove the binding of a subscription's pattern, so the service gets no more events through it; events that already wait for the service stay",
      )
      .option(
        "--force",
        "also if an instance subscribes to the pattern; that instance binds it again when it connects",
      ),
  ).action(async (service: string, pattern: string, flags: UnbindFlags) => {
    const broker = brokerOf(flags, terminal);
    const limits = limitsOf(flags, terminal);
    if (!flags.force) {
      const instances = await broker.discover({ ...limits, service });
      const subscribing = instances.filter(({ subscriptions }) =>
        subscriptions.some((each) => each.per === "service" && isSame(each.pattern, pattern)),
      );
      if (subscribing.length > 0)
        throw new ConfluoError(
          "UNAVAILABLE",
          `${counted(subscribing.length, "instance")} of ${service} still subscribe to ${pattern}, and would bind it again: deploy ${service} without it first, or use --force.`,
        );
    }
    const isThere = await broker.queue(`${broker.namespace}.${service}.inbox`, limits);
    if (isThere === undefined)
      throw new ConfluoError("NO_SUCH_SERVICE", `There is no service ${service} that gets events.`);
    await broker.unbind(service, pattern, limits);
    if (flags.json) writeJson(terminal, { service, pattern });
    else writeLine(terminal.stdout, `${service} no longer gets the events of ${pattern}.`);
  });
};

function lineOf({ name, messages }: RemovedQueue): string {
  return `removed ${name}${messages === 0 ? "" : `, and ${counted(messages, "message")} in it`}`;
}

function advise(service: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof ConfluoError) || error.code !== "UNAVAILABLE" || error.data === undefined)
      throw error;
    const advice = `Stop its instances; confluo dead export ${service} keeps its letters. --force removes the queues anyway.`;
    throw new ConfluoError("UNAVAILABLE", `${error.message} ${advice}`, { cause: error });
  };
}

// A binding has a `*` in place of each parameter.
function isSame(subscribed: string, asked: string): boolean {
  const [one, other] = [subscribed, asked].map((pattern) =>
    pattern.replace(/^(?!\/)/, "/").replace(/\/:[^/]+/g, "/*"),
  );
  return one === other;
}
