/** The ways in which a fleet is connected. */

/** How the instances of a fleet connect, and what they are. */
export interface Shape {
  /** Whether each instance has its own connections, as a process for each has. Otherwise all of a process share them. */
  readonly ownConnections: boolean;
  /** Whether they have routes and subscriptions. Otherwise they only call others. */
  readonly serves: boolean;
  /** Over how many vhosts the services are spread; 1: the default one. */
  readonly vhosts: number;
  /** Further lines of `rabbitmq.conf`. */
  readonly config: readonly string[];
}

const separate: Shape = { ownConnections: true, serves: true, vhosts: 1, config: [] };

/** By variant. */
export const shapes: Readonly<Record<string, Shape>> = {
  separate,
  shared: { ...separate, ownConnections: false },
  clients: { ...separate, serves: false },
  vhosts: { ...separate, vhosts: 4 },
  buffers: {
    ...separate,
    config: ["tcp_listen_options.sndbuf = 32768", "tcp_listen_options.recbuf = 32768"],
  },
};

/** Returns whether the whole fleet can be talked to at one place. */
export function isTalkedTo({ serves, vhosts }: Shape): boolean {
  return serves && vhosts === 1;
}
