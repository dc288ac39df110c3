import type { CrawlState } from '../model/crawl.ts';
import type { Export, ExportState, Webhook } from '../model/export.ts';
import { type Db, inTransaction, type Sql, type Tx } from './client.ts';

/** A row of `exports`, as the driver gives it. */
export interface ExportRow {
  crawl_id: string;
  n: number;
  name: string;
  kind: string;
  definition: Export | Webhook;
  state: ExportState;
  next_offset: number;
  written: number;
  position: unknown;
  failures: number;
  failing_since: Date | null;
  last_error: string | null;
  last_error_at: Date | null;
  written_at: Date | null;
  due_at: Date;
  node_id: string | null;
  fence: number;
}

/** A consumer as a crawl begins with it. */
export interface NewExport {
  name: string;
  kind: string;
  definition: Export | Webhook;
}

/** The consumers of a new crawl, in their order; twice is once. */
export async function insertExports(tx: Tx, crawlId: string, exports: readonly NewExport[]): Promise<void> {
  if (exports.length === 0) return;
  await tx`
    insert into exports (crawl_id, n, name, kind, definition)
    select ${crawlId}, n - 1, name, kind, definition::json
    from unnest(${exports.map(({ name }) => name)}::text[], ${exports.map(({ kind }) => kind)}::text[],
      ${exports.map(({ definition }) => JSON.stringify(definition))}::text[]) with ordinality as u (name, kind, definition, n)
    on conflict (crawl_id, n) do nothing`;
}

/** The consumers of a crawl, in their order. */
export async function listExports(db: Db, crawlId: string): Promise<ExportRow[]> {
  return db<ExportRow[]>`select * from exports where crawl_id = ${crawlId} order by n`;
}

/**
 * The crawl goes on, or has ended while it was paused: what was done is to be written on, and nobody rests. The caller holds
 * the crawl's row lock. One that failed for good stays so.
 */
export async function reviveExports(tx: Tx, crawlId: string): Promise<void> {
  await tx`
    update exports set state = 'active', due_at = case when failures = 0 then least(due_at, now()) else due_at end
    where crawl_id = ${crawlId} and state <> 'failed'`;
}

/** One that failed is tried again, at once; one that waits for its next try as well. Null: there is none of this name. */
export async function retryExport(db: Db, crawlId: string, name: string): Promise<ExportRow | null> {
  const [row] = await db<ExportRow[]>`
    update exports set
      due_at = case when state = 'failed' or node_id is null then least(due_at, now()) else due_at end,
      failures = case when state = 'failed' then 0 else failures end,
      failing_since = case when state = 'failed' then null else failing_since end,
      state = case when state = 'failed' then 'active' else state end
    where crawl_id = ${crawlId} and name = ${name} returning *`;
  return row ?? null;
}

const due = (db: Db) => db`
  e.state = 'active' and e.due_at <= now()
  and not exists (select from nodes n where n.id = e.node_id and n.alive_until > now())`;

/** Whether there is one that nobody works on and that somebody should. */
export async function isExportDue(db: Db): Promise<boolean> {
  const rows = await db`select 1 from exports e where ${due(db)} limit 1`;
  return rows.length > 0;
}

/** An export that this node works on. */
export interface ClaimedExport extends ExportRow {
  /** Of the crawl's spider; null: it has none, or the crawl is gone. */
  spider: string | null;
}

/**
 * Takes up to `limit` exports that are due and have no living holder, the longest due first; none that this node has itself:
 * if it seems to be dead it was frozen, and still works on them. Found first, then taken with the fence as it was found: one
 * that another node has taken meanwhile is left to it (the note at `lockFound` in hosts.ts).
 */
export async function claimExports(sql: Sql, nodeId: string, limit: number): Promise<ClaimedExport[]> {
  const found = await sql<Pick<ExportRow, 'crawl_id' | 'n' | 'fence'>[]>`
    select e.crawl_id, e.n, e.fence from exports e
    where ${due(sql)} and e.node_id is distinct from ${nodeId} order by e.due_at limit ${limit}`;
  if (found.length === 0) return [];
  const rows = await sql<ExportRow[]>`
    update exports e set node_id = ${nodeId}, fence = e.fence + 1
    from unnest(${found.map((row) => row.crawl_id)}::uuid[], ${found.map((row) => row.n)}::smallint[],
                ${found.map((row) => row.fence)}::bigint[]) as f (crawl_id, n, fence)
    where e.crawl_id = f.crawl_id and e.n = f.n and e.fence = f.fence and e.state = 'active'
    returning e.*`;
  const crawls = await sql<{ id: string; spider_name: string | null }[]>`
    select id, spider_name from crawls where id = any (${rows.map((row) => row.crawl_id)}::uuid[])`;
  const spiders = new Map(crawls.map(({ id, spider_name }) => [id, spider_name]));
  return rows.map((row) => ({ ...row, spider: spiders.get(row.crawl_id) ?? null }));
}

/**
 * Gives back what this node holds by its row alone: claims whose answer was lost, what could not be given back, and what an
 * earlier thread held when it died.
 *
 * @param kept what is worked on
 */
export async function abandonExports(
  sql: Db,
  nodeId: string,
  kept: readonly Pick<ExportRow, 'crawl_id' | 'n' | 'fence'>[],
): Promise<void> {
  await sql`
    update exports e set node_id = null, fence = e.fence + 1
    where e.node_id = ${nodeId} and not exists (
      select from unnest(${kept.map((row) => row.crawl_id)}::uuid[], ${kept.map((row) => row.n)}::smallint[],
                         ${kept.map((row) => row.fence)}::bigint[]) as k (crawl_id, n, fence)
      where k.crawl_id = e.crawl_id and k.n = e.n and k.fence = e.fence)`;
}

/** The right to change a row: whoever holds it by another fence has taken it over. */
export interface Hold {
  crawlId: string;
  n: number;
  nodeId: string;
  fence: number;
}

const held = (db: Db, { crawlId, n, nodeId, fence }: Hold) =>
  db`crawl_id = ${crawlId} and n = ${n} and node_id = ${nodeId} and fence = ${fence}`;

/** A cursor to be stored. */
export interface StoredCursor {
  /** The one that is stored now. */
  from: number;
  next: number;
  position: unknown;
  /** Items between the two; below 0 where it goes back. */
  written: number;
  /** Whether the failures so far are over. */
  isSound: boolean;
}

/** Twice is once. @returns false: this node does not hold the export any more, or it is gone */
export async function storeCursor(db: Db, hold: Hold, cursor: StoredCursor): Promise<boolean> {
  const { from, next, position, written, isSound } = cursor;
  const result = await db`
    update exports set next_offset = ${next}, position = ${JSON.stringify(position ?? null)}::text::json,
      written = written + case when next_offset = ${from} then ${written}::bigint else 0 end,
      written_at = case when next_offset < ${next} then now() else written_at end,
      failures = case when ${isSound} then 0 else failures end,
      failing_since = case when ${isSound} then null else failing_since end
    where ${held(db, hold)}`;
  return result.count > 0;
}

/** Gives an export back; it is due again after so many milliseconds. */
export async function releaseExport(db: Db, hold: Hold, dueInMs: number): Promise<void> {
  await db`
    update exports set node_id = null, due_at = now() + ${dueInMs} * interval '1 ms' where ${held(db, hold)}`;
}

/** Of a crawl that is still paused; of one that went on meanwhile it is due now. */
export async function restExport(sql: Sql, hold: Hold, restMs: number): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const [crawl] = await tx<{ state: CrawlState }[]>`
      select state from crawls where id = ${hold.crawlId} for share`;
    await releaseExport(tx, hold, crawl?.state === 'paused' ? restMs : 0);
  });
}

/** All was written. An export whose crawl has been resumed meanwhile is given back instead. */
export async function finishExport(sql: Sql, hold: Hold): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const [crawl] = await tx<{ ended: boolean }[]>`
      select state in ('finished', 'cancelled', 'failed') as ended from crawls where id = ${hold.crawlId} for share`;
    await tx`
      update exports set node_id = null, due_at = now(), state = ${crawl?.ended ? 'done' : 'active'}
      where ${held(tx, hold)}`;
  });
}

export interface ExportFailure {
  /** For clients. */
  message: string;
  /** True: not tried again by itself. */
  permanent: boolean;
  retryInMs: number;
}

/** Notes a failure and gives the export back. */
export async function failExport(db: Db, hold: Hold, { message, permanent, retryInMs }: ExportFailure): Promise<void> {
  await db`
    update exports set node_id = null, failures = failures + 1, failing_since = coalesce(failing_since, now()),
      last_error = ${message}, last_error_at = now(), state = ${permanent ? 'failed' : 'active'},
      due_at = now() + ${retryInMs} * interval '1 ms'
    where ${held(db, hold)}`;
}

/** A crawl as its consumers see it. */
export interface ConsumedCrawl {
  id: string;
  state: CrawlState;
  ended: boolean;
  /** Items committed: every offset below is there. */
  items: number;
}

/** Crawls that were deleted are missing. */
export async function readConsumed(db: Db, crawlIds: readonly string[]): Promise<ConsumedCrawl[]> {
  return db<ConsumedCrawl[]>`
    select id, state, state in ('finished', 'cancelled', 'failed') as ended, items
    from crawls where id = any (${crawlIds as string[]}::uuid[])`;
}
