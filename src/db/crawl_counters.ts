import type { CrawlState, StopReason } from '../model/crawl.ts';
import { inTransaction, type Sql, type Tx } from './client.ts';
import { noteChanges } from './crawl_changes.ts';
import { warnOfRedirects, warnWithoutItems } from './crawl_warnings.ts';
import { endCrawl } from './crawls.ts';

/** What a transaction changes in one crawl's counters. */
export interface CrawlDelta {
  id: string;
  discovered: number;
  queued: number;
  inProgress: number;
  done: number;
  failed: number;
  skipped: number;
  retried: number;
  items: number;
  dropped: number;
  itemBytes: number;
  bodyBytes: number;
  wireBytes: number;
  nextSeq: number;
}

export function emptyDelta(id: string): CrawlDelta {
  return {
    id,
    discovered: 0,
    queued: 0,
    inProgress: 0,
    done: 0,
    failed: 0,
    skipped: 0,
    retried: 0,
    items: 0,
    dropped: 0,
    itemBytes: 0,
    bodyBytes: 0,
    wireBytes: 0,
    nextSeq: 0,
  };
}

/** A crawl as a transaction left it: what decides whether it goes on. */
export interface CrawlStatus {
  id: string;
  state: CrawlState;
  queued: number;
  inProgress: number;
  done: number;
  failed: number;
  items: number;
  bodyBytes: number;
  maxPages: number | null;
  maxItems: number | null;
  maxErrors: number | null;
  maxBytes: number | null;
  /** Null: it compares with no earlier crawl. True: what is gone is being listed, and nothing else is left to do. */
  gonePending: boolean | null;
}

/**
 * Takes the crawls' row locks, in the order of their ids as far as one statement can promise it; whoever writes requests,
 * items or host queues of a crawl takes its lock first, so two writers of one crawl never meet further down.
 */
export async function lockCrawls(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx`update crawls set next_seq = next_seq where id = any (${[...ids].sort()}::uuid[])`;
}

/** Adds the deltas. The crawls' row locks must be held. */
export async function applyCrawlDeltas(tx: Tx, deltas: readonly CrawlDelta[]): Promise<CrawlStatus[]> {
  if (deltas.length === 0) return [];
  const column = (key: Exclude<keyof CrawlDelta, 'id'>) => deltas.map((d) => d[key]);
  return tx<CrawlStatus[]>`
    update crawls c set discovered = c.discovered + u.discovered, queued = c.queued + u.queued,
      in_progress = c.in_progress + u.in_progress, done = c.done + u.done, failed = c.failed + u.failed,
      skipped = c.skipped + u.skipped, retried = c.retried + u.retried, items = c.items + u.items,
      dropped = c.dropped + u.dropped, item_bytes = c.item_bytes + u.item_bytes,
      body_bytes = c.body_bytes + u.body_bytes, wire_bytes = c.wire_bytes + u.wire_bytes,
      next_seq = c.next_seq + u.next_seq
    from unnest(${deltas.map((d) => d.id)}::uuid[], ${column('discovered')}::bigint[], ${column('queued')}::bigint[],
      ${column('inProgress')}::bigint[], ${column('done')}::bigint[], ${column('failed')}::bigint[],
      ${column('skipped')}::bigint[], ${column('retried')}::bigint[], ${column('items')}::bigint[],
      ${column('dropped')}::bigint[], ${column('itemBytes')}::bigint[], ${column('bodyBytes')}::bigint[],
      ${column('wireBytes')}::bigint[], ${column('nextSeq')}::bigint[])
      as u (id, discovered, queued, in_progress, done, failed, skipped, retried, items, dropped, item_bytes, body_bytes,
            wire_bytes, next_seq)
    where c.id = u.id
    returning c.id, c.state, c.queued, c.in_progress as "inProgress", c.done, c.failed, c.items,
      c.body_bytes as "bodyBytes", c.max_pages as "maxPages", c.max_items as "maxItems", c.max_errors as "maxErrors",
      c.max_bytes as "maxBytes", c.gone_pending as "gonePending"`;
}

/** How a crawl ends. */
type Verdict =
  | { state: Extract<CrawlState, 'finished' | 'failed'>; stopReason: StopReason }
  | { state: 'paused'; stopReason: null }
  /** All is fetched; it ends when the items that are gone have been listed. */
  | { state: 'fetched'; stopReason: null };

/** Whether a crawl in this status ends (or has come to its pause), and how; null: it goes on. */
function verdictOf(c: CrawlStatus): Verdict | null {
  if (c.state !== 'running' && c.state !== 'queued' && c.state !== 'pausing') return null;
  if (c.gonePending === true) return null;
  // While it is pausing as well: a crawl that paused with nothing left would never be looked at again.
  if (c.queued + c.inProgress === 0 && c.gonePending !== null) return { state: 'fetched', stopReason: null };
  if (c.queued + c.inProgress === 0)
    return c.done === 0
      ? { state: 'failed', stopReason: 'start_urls_failed' }
      : { state: 'finished', stopReason: 'finished' };
  if (c.maxItems !== null && c.items >= c.maxItems) return { state: 'finished', stopReason: 'max_items' };
  if (c.maxPages !== null && c.done >= c.maxPages) return { state: 'finished', stopReason: 'max_pages' };
  if (c.maxErrors !== null && c.failed >= c.maxErrors) return { state: 'failed', stopReason: 'max_errors' };
  if (c.maxBytes !== null && c.bodyBytes >= c.maxBytes) return { state: 'finished', stopReason: 'max_bytes' };
  if (c.state === 'pausing' && c.inProgress === 0) return { state: 'paused', stopReason: null };
  return null;
}

/**
 * Ends, or brings to their pause, the crawls whose time has come.
 *
 * @param onFetched is told of crawls whose last request has ended, and that now list what is gone
 * @returns the ids that changed, with their new state
 */
export async function settleCrawls(
  tx: Tx,
  statuses: readonly CrawlStatus[],
  onFetched?: (id: string) => void,
): Promise<Map<string, CrawlState>> {
  const changed = new Map<string, CrawlState>();
  for (const status of statuses) {
    const verdict = verdictOf(status);
    if (verdict === null) continue;
    const { id } = status;
    if (verdict.state === 'fetched') {
      await tx`update crawls set gone_pending = true where id = ${id}`;
      onFetched?.(id);
      continue;
    }
    if (verdict.state === 'paused') await setPauseReached(tx, id);
    else await end(tx, id, verdict.state, verdict.stopReason);
    changed.set(id, verdict.state);
  }
  return changed;
}

async function setPauseReached(tx: Tx, id: string): Promise<void> {
  await tx`update crawls set state = 'paused' where id = ${id}`;
  await noteChanges(tx, [id]);
}

async function end(tx: Tx, id: string, state: 'finished' | 'failed', stopReason: StopReason): Promise<void> {
  const detail = stopReason === 'start_urls_failed' ? await whyNothing(tx, id) : null;
  await endCrawl(tx, id, state, stopReason, detail);
  if (state === 'finished') await warnWithoutItems(tx, id);
  else if (stopReason === 'start_urls_failed') await warnOfRedirects(tx, id);
}

/**
 * Ends a crawl that compares with earlier ones, and whose requests have all ended. Its row is locked by the caller.
 *
 * @param hasRead whether a page was done, or was skipped because an earlier crawl had scraped it
 */
export async function endFetched(tx: Tx, id: string, hasRead: boolean): Promise<CrawlState> {
  const state = hasRead ? 'finished' : 'failed';
  await tx`update crawls set gone_pending = false where id = ${id}`;
  await end(tx, id, state, hasRead ? 'finished' : 'start_urls_failed');
  return state;
}

/** Says why no start URL could be fetched. */
async function whyNothing(tx: Tx, id: string): Promise<string | null> {
  const [first] = await tx<{ url: string; reason: string; detail: string | null }[]>`
    select url, reason, detail from requests
    where crawl_id = ${id} and state in (4, 5) and reason <> 'redirected' order by seq limit 1`;
  return first === undefined ? null : `${first.url}: ${first.reason}${first.detail ? ` (${first.detail})` : ''}`;
}

/** Ends the crawls whose `maxDurationSeconds` is over. @returns their ids */
export async function endOverdueCrawls(sql: Sql): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from crawls
    where state = 'running' and deadline_at <= now() and gone_pending is not true order by id limit 100`;
  const ended: string[] = [];
  for (const { id } of rows) {
    await inTransaction(sql, async (tx) => {
      const due = await tx`
        select from crawls
        where id = ${id} and state = 'running' and deadline_at <= now() and gone_pending is not true for update`;
      if (due.length === 0) return;
      await endCrawl(tx, id, 'finished', 'max_duration', null);
      ended.push(id);
    });
  }
  return ended;
}
