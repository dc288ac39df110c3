import type { Reason } from '../model/request.ts';
import type { Spider } from '../model/spider.ts';
import type { Sql, Tx } from './client.ts';

// The end of a crawl that compares with earlier ones: its requests have all ended, and the items that are gone are listed.

/** Crawls that are at this end. */
export async function findFetched(sql: Sql): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from crawls where gone_pending and state in ('running', 'pausing') order by id limit 100`;
  return rows.map((row) => row.id);
}

/** A crawl at this end, its row locked. */
export interface FetchedCrawl {
  id: string;
  spiderName: string | null;
  pages: Spider['pages'] | null;
  startedAt: Date;
  start: string;
  items: number;
  done: number;
  /** Limits may have kept it from URLs that it found. */
  isCut: boolean;
}

/** Null where it has ended meanwhile, or was paused. */
export async function lockFetched(tx: Tx, id: string): Promise<FetchedCrawl | null> {
  const [row] = await tx<FetchedCrawl[]>`
    select id, spider_name as "spiderName", definition->'pages' as pages, started_at as "startedAt",
      start_hash as start, items, done, coalesce(max_queue_per_host, max_urls_per_pattern) is not null as "isCut"
    from crawls where id = ${id} and gone_pending and state in ('running', 'pausing') for update`;
  return row ?? null;
}

/** What a crawl could not look at. */
export interface Sight {
  /** Pages were skipped because an earlier crawl had scraped them. */
  recalled: boolean;
  /** What it did not come to may be behind a page that it did not read. */
  blind: boolean;
}

/** Pages of which nothing is known: whatever was on them is not gone. */
export const UNSEEN: readonly Reason[] = [
  'robots',
  'egress',
  'trap',
  'depth',
  'max_pages_per_host',
  'request_too_large',
];
/** Flag of a page that could not be read, and whose links of an earlier crawl are not known. */
export const UNFOLLOWED = 'unfollowed';

export async function sightOf(tx: Tx, { id, isCut }: Pick<FetchedCrawl, 'id' | 'isCut'>): Promise<Sight> {
  const counts = await tx<{ kind: string; key: string }[]>`
    select kind, key from crawl_counts where crawl_id = ${id} and kind in ('reason', 'flag') and n > 0`;
  const has = (kind: string, key: string) => counts.some((row) => row.kind === kind && row.key === key);
  return {
    recalled: has('reason', 'unchanged') || has('reason', 'already_scraped'),
    blind:
      has('flag', UNFOLLOWED) ||
      has('reason', 'max_pages_per_host') ||
      has('reason', 'crashed') ||
      (isCut && has('reason', 'trap')),
  };
}

/** How a request ended. */
export interface EndedRequest {
  fp: string;
  seq: number;
  state: number;
  reason: Reason | null;
  detail: string | null;
  status: number | null;
}

/** How these requests ended in a crawl; those that it did not discover are not there. */
export async function readEnded(tx: Tx, crawlId: string, fps: readonly string[]): Promise<EndedRequest[]> {
  return tx<EndedRequest[]>`
    select replace(fp::text, '-', '') as fp, seq, state, reason, detail, status
    from requests where crawl_id = ${crawlId} and fp = any (${[...fps]}::uuid[])`;
}

/** Counts items that were added to a crawl. The row is locked by the caller. */
export async function addItems(tx: Tx, crawlId: string, n: number, bytes: number): Promise<void> {
  await tx`update crawls set items = items + ${n}, item_bytes = item_bytes + ${bytes} where id = ${crawlId}`;
}
