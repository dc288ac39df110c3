import { type Db, inTransaction, type Sql } from './client.ts';

export type StoredHeaders = Record<string, string | string[] | undefined>;

/** What is known of a stored response before it is read. */
export interface FoundResponse {
  /** 32 hex digits. */
  key: string;
  ageMs: number;
  /** When it was fetched, or found unchanged: milliseconds since the epoch. */
  storedMs: number;
  status: number;
  /** Bytes. */
  size: number;
  /** Null: not asked for. */
  headers: StoredHeaders | null;
}

export interface StoredResponse extends FoundResponse {
  headers: StoredHeaders;
  /** As stored. */
  body: Buffer;
}

export interface NewResponse {
  key: string;
  storedMs: number;
  status: number;
  /** With its port where that is not the default. */
  host: string;
  /** JSON text. */
  headers: string;
  body: Buffer;
}

/** A body crosses the wire as hex text, which the event loop makes and reads: 5 ms a slice. */
const SLICE_BYTES = 1024 * 1024;
/** Rows that one statement deletes. */
const DELETED_AT_ONCE = 500;

const facts = (db: Db) => db`
  replace(key::text, '-', '') as key, status, size,
  round(extract(epoch from stored_at) * 1000)::float8 as "storedMs",
  (extract(epoch from now() - stored_at) * 1000)::float8 as "ageMs"`;

/** Which of these are stored. */
export async function findResponses(db: Db, keys: readonly string[], withHeaders: boolean): Promise<FoundResponse[]> {
  return db<FoundResponse[]>`
    select ${facts(db)}, ${withHeaders ? db`headers` : db`null as headers`}
    from cached_responses where key = any (${keys as string[]}::uuid[])`;
}

/** Reads these whole. What is not there (any more) is left out. */
export async function readResponses(db: Db, keys: readonly string[]): Promise<StoredResponse[]> {
  const rows = await db<(StoredResponse & { bytes: number; version: string })[]>`
    select ${facts(db)}, headers, substring(body for ${SLICE_BYTES}) as body, octet_length(body) as bytes,
      xmin::text as version
    from cached_responses where key = any (${keys as string[]}::uuid[])`;
  const whole: StoredResponse[] = [];
  for (const { bytes, version, ...row } of rows) {
    const body = bytes <= SLICE_BYTES ? row.body : await readSlices(db, row, bytes, version);
    if (body !== null) whole.push({ ...row, body });
  }
  return whole;
}

/** @param version of the row: null is returned where it was replaced meanwhile */
async function readSlices(
  db: Db,
  { key, body }: StoredResponse,
  bytes: number,
  version: string,
): Promise<Buffer | null> {
  const slices = [body];
  for (let from = SLICE_BYTES; from < bytes; from += SLICE_BYTES) {
    const [row] = await db<{ slice: Buffer }[]>`
      select substring(body from ${from + 1} for ${SLICE_BYTES}) as slice
      from cached_responses where key = ${key}::uuid and xmin::text = ${version}`;
    if (row === undefined) return null;
    slices.push(row.slice);
  }
  return Buffer.concat(slices);
}

/** Stores responses, each whole, in the place of older ones. In the order of the keys, so that two nodes never wait for each other in a ring. */
export async function storeResponses(sql: Sql, rows: readonly NewResponse[]): Promise<void> {
  const sorted = rows.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  await inTransaction(sql, async (tx) => {
    for (const { key, storedMs, status, host, headers, body } of sorted) {
      const size = headers.length + body.length;
      await tx`
        insert into cached_responses (key, stored_at, status, size, host, headers, body)
        values (${key}::uuid, to_timestamp(${storedMs}::float8 / 1000), ${status}, ${size}, ${host}, ${headers}::text::json, ${body.subarray(0, SLICE_BYTES)})
        on conflict (key) do update set stored_at = excluded.stored_at, status = excluded.status, size = excluded.size,
          host = excluded.host, headers = excluded.headers, body = excluded.body`;
      for (let from = SLICE_BYTES; from < body.length; from += SLICE_BYTES)
        await tx`
          update cached_responses set body = body || ${body.subarray(from, from + SLICE_BYTES)} where key = ${key}::uuid`;
    }
  });
}

/** The site said that the response is unchanged. @param headers JSON text */
export async function renewResponse(db: Db, key: string, headers: string): Promise<void> {
  await db`update cached_responses set stored_at = now(), headers = ${headers}::text::json where key = ${key}::uuid`;
}

export async function deleteResponse(db: Db, key: string): Promise<void> {
  await db`delete from cached_responses where key = ${key}::uuid`;
}

/** Bytes of all. */
export async function storedBytes(db: Db): Promise<number> {
  const [row] = await db<{ bytes: number }[]>`select coalesce(sum(size), 0)::bigint as bytes from cached_responses`;
  return row!.bytes;
}

/** Deletes the oldest, a few hundred. @returns how many, and their bytes */
export async function deleteOldest(db: Db, olderThanDays = 0): Promise<{ n: number; bytes: number }> {
  const [row] = await db<{ n: number; bytes: number }[]>`
    with gone as (
      delete from cached_responses where key in (
        select key from cached_responses where stored_at <= now() - make_interval(days => ${olderThanDays})
        order by stored_at limit ${DELETED_AT_ONCE} for update skip locked)
      returning size)
    select count(*) as n, coalesce(sum(size), 0)::bigint as bytes from gone`;
  return row!;
}

/** Empties the cache in small steps. @param host null: of every host @returns how many were deleted */
export async function deleteResponses(db: Db, host: string | null): Promise<number> {
  for (let total = 0; ; ) {
    const { count } = await db`
      delete from cached_responses where key in (
        select key from cached_responses ${host === null ? db`` : db`where host = ${host}`}
        limit ${DELETED_AT_ONCE} for update skip locked)`;
    total += count;
    if (count === 0) return total;
  }
}
