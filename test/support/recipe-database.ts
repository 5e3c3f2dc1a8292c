/** A database of its own on the PostgreSQL of the tests. */

import { randomBytes } from "node:crypto";
import { startTestPostgres } from "../../scripts/test-postgres.mjs";
import { requirePackage } from "./recipes.ts";

/** What the tests use of a connection of `pg`. */
export interface Connection {
  query(sql: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Row[] }>;
  end(): Promise<void>;
}

export type Row = Readonly<Record<string, unknown>>;

export interface Database {
  readonly url: string;
  /** A new connection to it. */
  connect(): Promise<Connection>;
  /** Drops it and ends what was started for it. */
  remove(): Promise<void>;
}

/** Makes an empty database, on a server that is started if none is named. Only after `makeRecipeProject`. */
export async function makeDatabase(): Promise<Database> {
  const postgres = await startTestPostgres();
  console.log(`PostgreSQL: ${postgres.description}`);
  const name = `confluo_${randomBytes(6).toString("hex")}`;
  const url = new URL(postgres.url);
  url.pathname = `/${name}`;
  await administer(postgres.url, `CREATE DATABASE ${name}`);
  return {
    url: url.href,
    connect: () => connect(url.href),
    async remove() {
      try {
        await administer(postgres.url, `DROP DATABASE ${name} WITH (FORCE)`);
      } finally {
        await postgres.stop();
      }
    },
  };
}

async function administer(url: string, statement: string): Promise<void> {
  const connection = await connect(url);
  try {
    await connection.query(statement);
  } finally {
    await connection.end();
  }
}

async function connect(url: string): Promise<Connection> {
  const { Client } = requirePackage("pg");
  const client = new Client({ connectionString: url });
  await client.connect();
  return client;
}
