/** A certificate authority of a test's own: X.509 with ECDSA P-256, written with Node's own means. */

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

/** A certificate and its key, in PEM. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

interface Subject {
  readonly name: string;
  /** Names that a server answers to. */
  readonly dns?: readonly string[];
  /** IPv4 addresses that a server answers to. */
  readonly addresses?: readonly string[];
  /** When it stops being valid. Default: tomorrow. */
  readonly until?: Date;
}

const DAY_MS = 86_400_000;

/** Signs certificates that are valid from yesterday to tomorrow. */
export class CertificateAuthority {
  readonly cert: string;
  readonly #name: string;
  readonly #keys = makeKeys();

  constructor(name: string) {
    this.#name = name;
    this.cert = this.#certificate({ name }, this.#keys.publicKey, true);
  }

  issue(subject: Subject): Identity {
    const { publicKey, privateKey } = makeKeys();
    return {
      cert: this.#certificate(subject, publicKey, false),
      key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    };
  }

  #certificate(subject: Subject, publicKey: KeyObject, isAuthority: boolean): string {
    const { until = new Date(Date.now() + DAY_MS) } = subject;
    const toBeSigned = sequence(
      explicit(0, integer(Buffer.of(2))), // version 3
      integer(Buffer.concat([Buffer.of(1), randomBytes(8)])),
      ecdsaWithSha256,
      commonName(this.#name),
      sequence(time(new Date(Date.now() - DAY_MS)), time(until)),
      commonName(subject.name),
      publicKey.export({ type: "spki", format: "der" }),
      explicit(3, sequence(...extensions(subject, isAuthority))),
    );
    const signature = sign("sha256", toBeSigned, this.#keys.privateKey);
    const der = sequence(toBeSigned, ecdsaWithSha256, bits(signature));
    const lines = der.toString("base64").replace(/.{64}/g, "$&\n");
    return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  }
}

function makeKeys(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function extensions({ dns = [], addresses = [] }: Subject, isAuthority: boolean): readonly Buffer[] {
  const basic = extension("551d13", isAuthority ? sequence(tagged(0x01, Buffer.of(0xff))) : sequence());
  const names = [
    ...dns.map((name) => tagged(0x82, Buffer.from(name))),
    ...addresses.map((address) => tagged(0x87, Buffer.from(address.split(".").map(Number)))),
  ];
  return names.length === 0 ? [basic] : [basic, extension("551d11", sequence(...names))];
}

// --- DER (X.690), as far as a certificate needs it; object identifiers are given as their bytes ---

const ecdsaWithSha256 = sequence(identifier("2a8648ce3d040302"));

function tagged(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const all = Buffer.concat(content);
  const { length } = all;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.of(tag, ...size), all]);
}

function sequence(...content: readonly Uint8Array[]): Buffer {
  return tagged(0x30, ...content);
}

function explicit(number: number, content: Uint8Array): Buffer {
  return tagged(0xa0 + number, content);
}

function integer(bytes: Uint8Array): Buffer {
  return tagged(0x02, bytes);
}

function identifier(hex: string): Buffer {
  return tagged(0x06, Buffer.from(hex, "hex"));
}

function bits(bytes: Uint8Array): Buffer {
  return tagged(0x03, Buffer.of(0), bytes);
}

function commonName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(identifier("550403"), tagged(0x0c, Buffer.from(name)))));
}

function extension(hex: string, value: Uint8Array): Buffer {
  return sequence(identifier(hex), tagged(0x04, value));
}

// YYMMDDHHMMSSZ
function time(date: Date): Buffer {
  return tagged(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replace(/[-T:]/g, "")}Z`));
}
