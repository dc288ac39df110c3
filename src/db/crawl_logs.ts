import type { LogLine } from '../model/outcome.ts';
import type { Db, Tx } from './client.ts';

/** A line of a crawl's log with its place. */
export interface NewLogLine extends LogLine {
  crawlId: string;
  n: number;
  /** Milliseconds since the epoch. */
  at: number;
  url: string;
}

/** Stores lines, and counts them all, those beyond the bound too. The crawls' row locks must be held. */
export async function insertLogs(
  tx: Tx,
  lines: readonly NewLogLine[],
  counted: ReadonlyMap<string, number>,
): Promise<void> {
  if (counted.size === 0) return;
  const column = <K extends keyof NewLogLine>(key: K) => lines.map((line) => line[key]);
  await tx`
    insert into crawl_logs (crawl_id, n, at, level, url, message)
    select crawl_id, n, to_timestamp(at_ms / 1000), level, url, message
    from unnest(${column('crawlId')}::uuid[], ${column('n')}::bigint[], ${column('at')}::float8[],
      ${column('level')}::text[], ${column('url')}::text[], ${column('message')}::text[])
      as u (crawl_id, n, at_ms, level, url, message)`;
  await tx`
    update crawls c set log_lines = c.log_lines + u.n
    from unnest(${[...counted.keys()]}::uuid[], ${[...counted.values()]}::bigint[]) as u (id, n) where c.id = u.id`;
}

export interface StoredLogLine extends LogLine {
  n: number;
  at: Date;
  url: string;
}

/** Lines that a crawl logged so far, those beyond the bound included; null: there is no such crawl. */
export async function countLogLines(db: Db, crawlId: string): Promise<number | null> {
  const [row] = await db<{ n: number }[]>`select log_lines as n from crawls where id = ${crawlId}`;
  return row?.n ?? null;
}

/** Lines of a crawl in their order. @param after exclusive; -1: from the first */
export async function readLogs(
  db: Db,
  crawlId: string,
  filter: { levels: readonly string[]; after: number; limit: number },
): Promise<StoredLogLine[]> {
  return db<StoredLogLine[]>`
    select n, at, level, url, message from crawl_logs
    where crawl_id = ${crawlId} and n > ${filter.after} and level = any (${filter.levels as string[]}::text[])
    order by n limit ${filter.limit}`;
}
