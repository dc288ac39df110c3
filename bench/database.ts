import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import postgres from 'postgres';
import { startEmbedded } from '../dist/db/embedded.js';

/** The PostgreSQL server of one bench run: the service's own embedded one, its durable settings as the service has them. */
export interface Database {
  /** Creates an empty database and gives its URL. */
  create(name: string): Promise<string>;
  /** Of the server's first process, whose descendants all others are. */
  pid: number;
  stop(): Promise<void>;
}

/** Starts it, with commit times recorded, so that the way from commit to stream can be measured from outside. */
export async function startDatabase(directory: string): Promise<Database> {
  const dataDir = join(directory, 'postgres');
  const first = await startEmbedded({ dataDir });
  await using(first.url, (sql) => sql`alter system set track_commit_timestamp = on`);
  await first.stop();
  const server = await startEmbedded({ dataDir });
  const pid = await using(server.url, async (sql) => {
    const [row] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`;
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${row.pid}/status`, 'utf8'))![1]);
  });
  return {
    pid,
    async create(name) {
      await using(server.url, (sql) => sql`create database ${sql(name)}`);
      return Object.assign(new URL(server.url), { pathname: `/${name}` }).href;
    },
    stop: () => server.stop(),
  };
}

async function using<T>(url: string, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

/** What has been written to a database. */
export interface Written {
  walBytes: number;
  rows: number;
  commits: number;
}

/** Totals since the server's first start. Backends report theirs when they end, so ask when the writer has stopped. */
export async function written(url: string): Promise<Written> {
  return using(url, async (sql) => {
    const [row] = await sql<[Written]>`
      select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8 as "walBytes",
             (tup_inserted + tup_updated + tup_deleted)::float8 as rows,
             xact_commit::float8 as commits
      from pg_stat_database where datname = current_database()`;
    return row;
  });
}

/** Commit times of a crawl's items by offset, in milliseconds since the epoch: when the server wrote the commit record. */
export async function commitTimes(url: string, crawlId: string): Promise<number[]> {
  return using(url, async (sql) => {
    const rows = await sql<{ at: number }[]>`
      select extract(epoch from pg_xact_commit_timestamp(xmin))::float8 * 1000 as at
      from items where crawl_id = ${crawlId} order by "offset"`;
    return rows.map((row) => row.at);
  });
}

/** An empty table for the peer that stores its items in PostgreSQL. */
export async function createItemsTable(url: string): Promise<void> {
  await using(
    url,
    (sql) =>
      sql`create table items (id bigint generated always as identity primary key, url text, title text, h1 text, h2 text[])`,
  );
}

/** Takes that table's rows. */
export async function takeItems(url: string): Promise<unknown[]> {
  return using(url, async (sql) => {
    const rows = await sql`select url, title, h1, h2 from items`;
    await sql`truncate items`;
    return [...rows];
  });
}
