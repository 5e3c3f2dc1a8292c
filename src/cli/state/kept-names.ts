/** Finds the stored names of services that earlier commands saw at a broker and namespace. */

import { createHash } from "node:crypto";
import { isAbsolute, join } from "node:path";
import type { Broker } from "../../index.ts";
import { KnownServices } from "../../known/known-services.ts";
import type { Terminal } from "../terminal.ts";
import { NameFile } from "./name-file.ts";

/**
 * Returns the known services of a broker and namespace. They include those of earlier commands, unless `CONFLUO_STATE` is
 * `off`.
 */
export function knownServicesAt(
  broker: Pick<Broker, "description" | "namespace">,
  { env }: Terminal,
): KnownServices {
  const folder = stateFolder(env);
  // An embedded broker ends with its process, so there is nothing to store.
  if (folder === undefined || broker.description === "memory:") return new KnownServices();
  return new KnownServices(new NameFile(join(folder, "services", `${keyOf(broker)}.json`)));
}

/**
 * Returns the folder for stored state, according to the XDG Base Directory Specification.
 *
 * @returns `undefined` if nothing may be stored, or if there is no home folder.
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
 * Returns a file name for a broker's hosts, ports and vhost and a namespace. It is a hash, because some providers name a vhost
 * after its user. The order of a cluster's nodes does not matter.
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
