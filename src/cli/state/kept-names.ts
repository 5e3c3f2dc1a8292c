/** Which services commands saw before at a broker and namespace, and where that is kept. */

import { createHash } from "node:crypto";
import { isAbsolute, join } from "node:path";
import type { Broker } from "../../index.ts";
import { KnownServices } from "../../known/known-services.ts";
import type { Terminal } from "../terminal.ts";
import { NameFile } from "./name-file.ts";

/** Returns the services that are known at a broker and namespace: from earlier commands, unless `CONFLUO_STATE=off` says otherwise. */
export function knownServicesAt(
  broker: Pick<Broker, "description" | "namespace">,
  { env }: Terminal,
): KnownServices {
  const folder = stateFolder(env);
  // An embedded broker ends with its process.
  if (folder === undefined || broker.description === "memory:") return new KnownServices();
  return new KnownServices(new NameFile(join(folder, "services", `${keyOf(broker)}.json`)));
}

/**
 * Finds the folder for what commands keep, as the XDG Base Directory Specification has it.
 *
 * @returns `undefined` if nothing shall be kept, or if there is no home to keep it in.
 */
export function stateFolder(env: Terminal["env"], platform: string = process.platform): string | undefined {
  if (env.CONFLUO_STATE?.trim().toLowerCase() === "off") return undefined;
  const places = [
    env.XDG_STATE_HOME,
    platform === "win32" ? env.LOCALAPPDATA : env.HOME && join(env.HOME, ".local", "state"),
  ];
  const place = places.find((each) => each !== undefined && isAbsolute(each));
  return place === undefined ? undefined : join(place, "confluo");
}

/**
 * Makes a file's name of a broker's hosts, ports and vhost, and a namespace. It is a hash, since some providers name a vhost
 * for its user. The nodes of a cluster may be named in any order.
 */
export function keyOf({ description, namespace }: Pick<Broker, "description" | "namespace">): string {
  const nodes = description.split(", ").map((address) => {
    const { host, pathname } = new URL(address);
    return [host.toLowerCase(), decodeURIComponent(pathname.slice(1)) || "/"].join("/");
  });
  return createHash("sha256")
    .update(JSON.stringify([nodes.sort(), namespace]))
    .digest("hex")
    .slice(0, 32);
}
