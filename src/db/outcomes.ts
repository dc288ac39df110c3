import { ByCrawl } from '../model/by_crawl.ts';
import type { CrawlState } from '../model/crawl.ts';
import type { ItemState, Outcome } from '../model/outcome.ts';
import { STATE } from '../model/request.ts';
import type { Settings } from '../model/settings.ts';
import type { Tx } from './client.ts';

/** What a commit needs to know of a crawl, read under its row lock. */
export interface LockedCrawl {
  id: string;
  state: CrawlState;
  items: number;
  maxItems: number | null;
  nextSeq: number;
  /** Lines of its log so far; also the next one's number. */
  logLines: number;
  order: Settings['order'];
  maxDepth: number | null;
  maxQueuePerHost: number | null;
  maxUrlsPerPattern: number | null;
  /** Null: none. */
  spiderName: string | null;
}

/** Takes the row locks of the crawls and reads what the commit needs. Crawls that were deleted are not there. */
export async function lockForCommit(tx: Tx, ids: readonly string[]): Promise<Map<string, LockedCrawl>> {
  const rows = await tx<LockedCrawl[]>`
    update crawls set next_seq = next_seq where id = any (${[...ids].sort()}::uuid[])
    returning id, state, items, max_items as "maxItems", next_seq as "nextSeq",
              log_lines as "logLines", settings->>'order' as order,
              (settings->>'maxDepth')::int as "maxDepth", max_queue_per_host as "maxQueuePerHost",
              max_urls_per_pattern as "maxUrlsPerPattern", spider_name as "spiderName"`;
  return new Map(rows.map((row) => [row.id, row]));
}

/** A request that took its outcome, with its depth as the ledger has it now. */
export interface FinishedRequest {
  crawlId: string;
  seq: number;
  attempts: number;
  depth: number;
}

/**
 * Writes the final (or delayed) states. A request that is no longer fetching under this attempt is left alone and not
 * returned: the crawl was cancelled, the request was handed to another node, or this very commit has happened before and
 * its answer was lost. So a commit may be repeated blindly.
 *
 * `is true` keeps requests_fetching out of the plan: all that is in progress would be compared with every outcome (2,000 hosts:
 * 90 to 280 ms a batch). Found by seq: what is fetched together was mostly discovered together, so its entries are neighbours
 * in that index, where those by fingerprint are all over the other one.
 */
export async function finishRequests(tx: Tx, outcomes: readonly Outcome[]): Promise<FinishedRequest[]> {
  if (outcomes.length === 0) return [];
  const column = <K extends keyof Outcome>(key: K) => outcomes.map((o) => o[key]);
  return tx<FinishedRequest[]>`
    update requests r set state = u.state, reason = u.reason, detail = u.detail, status = u.status,
      ready_at = to_timestamp(u.ready_ms / 1000), finished_at = to_timestamp(u.fetched_ms / 1000), items = u.items,
      bytes = u.bytes, fetch_ms = u.fetch_ms
    from unnest(${column('crawlId')}::uuid[], ${column('seq')}::bigint[], ${column('attempts')}::int[],
      ${outcomes.map((o) => STATE[o.state])}::int[], ${column('reason')}::text[], ${column('detail')}::text[],
      ${column('status')}::int[], ${column('readyAt')}::float8[], ${column('fetchedAt')}::float8[],
      ${outcomes.map((o) => o.page?.items.length ?? 0)}::int[], ${column('bodyBytes')}::int[],
      ${outcomes.map((o) => Math.round(o.fetchMs))}::int[])
      as u (crawl_id, seq, attempts, state, reason, detail, status, ready_ms, fetched_ms, items, bytes, fetch_ms)
    where r.crawl_id = u.crawl_id and r.seq = u.seq and (r.state = ${STATE.fetching}) is true and r.attempts = u.attempts
    returning r.crawl_id as "crawlId", r.seq, r.attempts, r.depth`;
}

/** Marks redirects whose target was in the ledger already, and pages of whose items fewer were stored than they had. */
export async function amendRequests(
  tx: Tx,
  rows: readonly { crawlId: string; fp: string; reason: string | null; items: number }[],
): Promise<void> {
  if (rows.length === 0) return;
  await tx`
    update requests r set reason = u.reason, items = u.items
    from unnest(${rows.map((r) => r.crawlId)}::uuid[], ${rows.map((r) => r.fp)}::uuid[],
                ${rows.map((r) => r.reason)}::text[], ${rows.map((r) => r.items)}::int[]) as u (crawl_id, fp, reason, items)
    where r.crawl_id = u.crawl_id and r.fp = u.fp`;
}

/** An item with its place. */
export interface NewItem {
  crawlId: string;
  offset: number;
  seq: number;
  type: string;
  url: string;
  size: number;
  data: string;
  scrapedAt: number;
  /** Of the page's request. */
  pageFp: string;
  /** What it is compared by with earlier crawls; absent: it is not. */
  state?: ItemState;
  /** JSON text; absent: it was not compared. */
  change?: string;
}

export async function insertItems(tx: Tx, items: readonly NewItem[]): Promise<void> {
  if (items.length === 0) return;
  const column = <K extends keyof NewItem>(key: K) => items.map((item) => item[key]);
  // Only crawls that compare have it: no other batch names the column.
  const isCompared = items.some((item) => item.change !== undefined);
  const changes = isCompared ? tx`, ${items.map((item) => item.change ?? null)}::text[]` : tx``;
  await tx`
    insert into items (crawl_id, "offset", scraped_at, seq, size, type, url, data ${isCompared ? tx`, change` : tx``})
    select crawl_id, "offset", to_timestamp(scraped_ms / 1000), seq, size, type, url, data::json
      ${isCompared ? tx`, change::json` : tx``}
    from unnest(${column('crawlId')}::uuid[], ${column('offset')}::bigint[], ${column('scrapedAt')}::float8[],
      ${column('seq')}::bigint[], ${column('size')}::int[], ${column('type')}::text[], ${column('url')}::text[],
      ${column('data')}::text[] ${changes})
      as u (crawl_id, "offset", scraped_ms, seq, size, type, url, data ${isCompared ? tx`, change` : tx``})`;
}

interface Count {
  crawlId: string;
  kind: string;
  key: string;
  n: number;
}

/** Counts by word, summed per (crawl, kind, key). */
export class CountDeltas {
  /** By crawl and kind, each kind's by key. */
  readonly #counts = new ByCrawl<string, Map<string, Count>>();

  add(crawlId: string, kind: string, key: string, n = 1): void {
    let counts = this.#counts.get(crawlId, kind);
    if (counts === undefined) {
      counts = new Map();
      this.#counts.set(crawlId, kind, counts);
    }
    const count = counts.get(key);
    if (count === undefined) counts.set(key, { crawlId, kind, key, n });
    else count.n += n;
  }

  /** In the order of the key. */
  async store(tx: Tx): Promise<void> {
    const counts = this.#counts.values().flatMap((byKey) => [...byKey.values()]);
    const rows = counts.sort(
      (a, b) => compare(a.crawlId, b.crawlId) || compare(a.kind, b.kind) || compare(a.key, b.key),
    );
    if (rows.length === 0) return;
    await tx`
      insert into crawl_counts as c (crawl_id, kind, key, n)
      select * from unnest(${rows.map((r) => r.crawlId)}::uuid[], ${rows.map((r) => r.kind)}::text[],
                           ${rows.map((r) => r.key)}::text[], ${rows.map((r) => r.n)}::bigint[])
      on conflict (crawl_id, kind, key) do update set n = c.n + excluded.n`;
  }
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** One wake-up for the other nodes, when the transaction commits. */
export async function notifyCrawls(tx: Tx, crawlIds: readonly string[]): Promise<void> {
  // A payload holds 8,000 bytes; who gets none polls.
  await tx`select pg_notify('orbweaver', ${JSON.stringify({ crawls: crawlIds.slice(0, 180) })})`;
}
