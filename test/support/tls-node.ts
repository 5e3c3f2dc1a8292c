/** RabbitMQ nodes with a TLS listener, besides the one under test. */

import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ExtraNode, NodeExtras } from "../../scripts/test-broker.mjs";
import type { CertificateAuthority } from "./certificates.ts";

/** The name, besides 127.0.0.1, that the nodes' certificates are for. */
export const SERVER_NAME = "broker.test";

/** The password of guest at these nodes. */
export const PASSWORD = "p@ss:w/rd €%-hunter2";

/** The user that has a certificate and no password, and may use only what begins with its name. */
export const CERTIFIED_USER = "orders";

/** The user that has the password of guest, and in the namespace `confluo` the rights that `docs/operations.md` names. */
export const OPERATED_USER = "shop";

/** The same for who only looks. */
export const LOOKING_USER = "onlooker";

/** A node that takes TLS connections. */
export interface TlsNode {
  /** Its URL with host and port, without credentials. */
  readonly url: string;
  /** Its listener without TLS. */
  readonly plainUrl: string;
  stop(): Promise<void>;
}

/**
 * Starts a node with a certificate of the authority. With `clients: "required"` it takes only clients that have one, too,
 * and knows them by it if they ask for that (SASL EXTERNAL).
 */
export async function startTlsNode(
  start: (extras: NodeExtras) => Promise<ExtraNode>,
  authority: CertificateAuthority,
  clients: "any" | "required",
): Promise<TlsNode> {
  const { cert, key } = authority.issue({ name: "node", dns: [SERVER_NAME], addresses: ["127.0.0.1"] });
  const isRequired = clients === "required";
  const node = await start({
    plugins: isRequired ? ["rabbitmq_auth_mechanism_ssl"] : [],
    files: {
      "ca.pem": authority.cert,
      "server.pem": cert,
      "server.key": key,
      "definitions.json": JSON.stringify(definitions()),
    },
    config: ({ folder, port }) => [
      `listeners.ssl.1 = 127.0.0.1:${port}`,
      `ssl_options.cacertfile = ${folder}/ca.pem`,
      `ssl_options.certfile = ${folder}/server.pem`,
      `ssl_options.keyfile = ${folder}/server.key`,
      `ssl_options.verify = ${isRequired ? "verify_peer" : "verify_none"}`,
      `ssl_options.fail_if_no_peer_cert = ${isRequired}`,
      `load_definitions = ${folder}/definitions.json`,
      "auth_mechanisms.1 = PLAIN",
      ...(isRequired ? ["auth_mechanisms.2 = EXTERNAL", "ssl_cert_login_from = common_name"] : []),
    ],
  });
  return { url: `amqps://127.0.0.1:${node.extraPort}`, plainUrl: node.url, stop: () => node.stop() };
}

// Users, loaded at the start: asking a running node takes longer than starting it.
function definitions(): object {
  const salt = randomBytes(4);
  const hash = createHash("sha256").update(salt).update(PASSWORD).digest();
  const everything = { configure: ".*", write: ".*", read: ".*" };
  // The rights that the documentation names, and no more.
  const own = `^(${CERTIFIED_USER}\\.|amq\\.gen-)`;
  const password_hash = Buffer.concat([salt, hash]).toString("base64");
  const user = { hashing_algorithm: "rabbit_password_hashing_sha256", limits: {} };
  return {
    users: [
      {
        ...user,
        name: "guest",
        password_hash,
        tags: "administrator",
      },
      { ...user, name: CERTIFIED_USER, password_hash: "", tags: "" },
      { ...user, name: OPERATED_USER, password_hash, tags: "" },
      { ...user, name: LOOKING_USER, password_hash, tags: "" },
    ],
    vhosts: [{ name: "/" }],
    permissions: [
      { user: "guest", vhost: "/", ...everything },
      { user: CERTIFIED_USER, vhost: "/", configure: own, write: `${own}|^amq\\.default$`, read: own },
      { user: OPERATED_USER, vhost: "/", ...documentedRights(OPERATED_USER) },
      { user: LOOKING_USER, vhost: "/", ...documentedRights(LOOKING_USER) },
    ],
  };
}

/** Of the command that operators copy. */
function documentedRights(of: string): {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
} {
  const page = readFileSync(join(import.meta.dirname, "../../docs/operations.md"), "utf8");
  const command = new RegExp(`^rabbitmqctl set_permissions .* ${of} '(.*)' '(.*)' '(.*)'$`, "m").exec(page);
  if (command === null) throw new Error("docs/operations.md does not say how to give a user its rights.");
  const [, configure = "", write = "", read = ""] = command;
  return { configure, write, read };
}
