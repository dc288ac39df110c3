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
  items: number;
  done: number;
}

/** Null where it has ended meanwhile, or was paused. */
export async function lockFetched(tx: Tx, id: string): Promise<FetchedCrawl | null> {
  const [row] = await tx<FetchedCrawl[]>`
    select id, spider_name as "spiderName", definition->'pages' as pages, started_at as "startedAt", items, done
    from crawls where id = ${id} and gone_pending and state in ('running', 'pausing') for update`;
  return row ?? null;
}

/** What a crawl could not look at. */
export interface Sight {
  /** Pages were skipped because an earlier crawl had scraped them. */
  recalled: boolean;
  /** Pages could not be fetched, or were not allowed to be: what only they link to may be there. */
  blind: boolean;
}

const RECALLED: readonly Reason[] = ['unchanged', 'already_scraped'];
/** Pages of which nothing is known: whatever they hold, or lead to, is not gone. */
export const UNSEEN: readonly Reason[] = [
  'robots',
  'egress',
  'trap',
  'depth',
  'max_pages_per_host',
  'request_too_large',
];
/** Of these, those that an earlier crawl with the same definition may have read. */
const HIDING: readonly Reason[] = ['robots', 'egress', 'max_pages_per_host'];

export async function sightOf(tx: Tx, crawlId: string): Promise<Sight> {
  const has = (reasons: readonly Reason[]) => tx`exists (
    select from crawl_counts where crawl_id = ${crawlId} and kind = 'reason' and n > 0 and key = any (${[...reasons]}::text[]))`;
  const [row] = await tx<Sight[]>`
    select ${has(RECALLED)} as recalled, ${has(HIDING)} or exists (
      select from requests where crawl_id = ${crawlId} and state = 4 and status is distinct from 404 and status is distinct from 410
    ) as blind`;
  return row!;
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
