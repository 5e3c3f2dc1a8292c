/** The broker of a run. */

import {
  startTestBroker,
  startTestBroker4,
  type TestBroker,
  useGivenBroker,
} from "../../scripts/test-broker.mjs";

export interface BenchBroker {
  readonly url: string;
  readonly version: string;
  readonly description: string;
  /** Where it is known. */
  readonly pid: number | undefined;
  /** Deletes the queues that measurements have left behind, if the broker is ours. */
  tidy(): Promise<void>;
  stop(): Promise<void>;
}

export async function getBroker({
  broker: given,
  rabbitmq4,
  log,
}: {
  readonly broker: string | undefined;
  readonly rabbitmq4: boolean;
  readonly log: (line: string) => void;
}): Promise<BenchBroker> {
  const broker = await (given !== undefined
    ? useGivenBroker("--broker", given)
    : (rabbitmq4 ? startTestBroker4 : startTestBroker)({ log }));
  try {
    const { url, version, description, control } = broker;
    return {
      url,
      version,
      description,
      pid: await readPid(control),
      tidy: async () => void (await control?.(["eval", DELETE_QUEUES])),
      stop: () => broker.stop(),
    };
  } catch (error) {
    await broker.stop();
    throw error;
  }
}

// In one go: each start of rabbitmqctl takes a second or two.
const DELETE_QUEUES =
  '[rabbit_amqqueue:delete(Q, false, false, <<"bench">>) || Q <- rabbit_amqqueue:list()], ok.';

async function readPid(control: TestBroker["control"]): Promise<number | undefined> {
  const said = await control?.(["eval", "os:getpid()."]);
  const pid = Number(/\d+/.exec(said ?? "")?.[0]);
  return Number.isNaN(pid) ? undefined : pid;
}
