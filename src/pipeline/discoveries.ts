import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Tx } from '../db/client.ts';
import type { CrawlDelta } from '../db/crawl_counters.ts';
import {
  type Discovery,
  fartherLinks,
  type InsertedRequest,
  insertDiscoveries,
  insertPageLinks,
  type ReconsideredRequest,
  reconsider,
} from '../db/discoveries.ts';
import type { QueueDeltas } from '../db/host_queues.ts';
import type { CountDeltas, LockedCrawl } from '../db/outcomes.ts';
import { ByCrawl } from '../model/by_crawl.ts';
import { extraText, MAX_EXTRA } from '../model/extra.ts';
import type { Link, Outcome } from '../model/outcome.ts';
import { rankOf } from '../model/rank.ts';
import { STATE } from '../model/request.ts';
import { holdToBudgets } from './budgets.ts';

/** What the ledger's column holds; a chain of pages that is longer goes on at this depth. */
const MAX_DEPTH = 32_767;

/** Rows of one statement: a sitemap brings 50,000, which written in one go held the event loop for half a second. */
const MAX_ROWS = 500;
/** Links of one turn of the event loop. */
const MAX_LINKS = 2000;

/** An outcome whose request took it, with the depth that the ledger has for it now. */
export interface AppliedOutcome {
  outcome: Outcome;
  depth: number;
}

/** What the discoveries of one commit change. */
export interface Tally {
  crawls: ReadonlyMap<string, CrawlDelta>;
  queues: QueueDeltas;
  counts: CountDeltas;
}

/**
 * The requests that a batch discovered, each once, each with its place in the order of discovery. Of two discoveries of
 * one URL the queued one counts, then the nearer one.
 */
export async function collectDiscoveries(
  applied: readonly AppliedOutcome[],
  crawls: ReadonlyMap<string, LockedCrawl>,
  hostIds: ReadonlyMap<string, number>,
  tally: Tally,
): Promise<Discovery[]> {
  const found = new ByCrawl<string, Discovery>();
  let links = 0;
  for (const { outcome, depth } of applied) {
    const crawl = crawls.get(outcome.crawlId)!;
    const hop = outcome.reason === 'redirected';
    const below = Math.min(MAX_DEPTH, hop ? depth : depth + 1);
    for (const link of outcome.page?.links ?? []) {
      if (++links % MAX_LINKS === 0) await nextTurn();
      // A sitemap that another names is no level of its own: its pages are as deep as those of the one.
      const at = link.extra?.kind === 'sitemap' ? depth : below;
      const { reason, detail, extra } = judge(link, at, crawl.maxDepth);
      const known = found.get(crawl.id, link.fp);
      if (known !== undefined && (known.reason === null || reason !== null) && known.depth <= at) continue;
      const delta = tally.crawls.get(crawl.id)!;
      const seq = known?.seq ?? crawl.nextSeq + delta.nextSeq++;
      found.set(crawl.id, link.fp, {
        crawlId: crawl.id,
        fp: link.fp,
        seq,
        rank: rankOf(crawl.order, link.priority, at, seq),
        hostId: link.origin === null ? null : (hostIds.get(link.origin) ?? null),
        parent: outcome.seq,
        depth: at,
        priority: link.priority,
        redirects: hop ? outcome.redirects + 1 : 0,
        url: link.url,
        reason,
        detail,
        extra,
      });
    }
  }
  return inOrder(found.values());
}

/** Rows are inserted in the order of their key, so that two transactions meet in the same order. */
async function inOrder(rows: Discovery[]): Promise<Discovery[]> {
  if (rows.length <= MAX_LINKS) return rows.sort(byKey);
  // Sorted in one go they would hold the event loop: by the first digits of the key, then each group for itself.
  const groups = Map.groupBy(rows, (row) => row.crawlId + row.fp.slice(0, 2));
  const sorted: Discovery[] = [];
  let turn = 0;
  for (const [, group] of [...groups].sort(([a], [b]) => (a < b ? -1 : 1))) {
    for (const row of group.sort(byKey)) sorted.push(row);
    if (sorted.length - turn < MAX_LINKS) continue;
    turn = sorted.length;
    await nextTurn();
  }
  return sorted;
}

function byKey(a: Discovery, b: Discovery): number {
  if (a.crawlId !== b.crawlId) return a.crawlId < b.crawlId ? -1 : 1;
  return a.fp < b.fp ? -1 : 1;
}

/**
 * The parser judged the link by the depth at which the page was claimed; if the page has come nearer since, a link that
 * was too deep for the crawl may not be so any more. (A rule's own `maxDepth` names itself in `detail`.) A skipped link
 * keeps its extra: it may yet be queued, by a page that comes nearer.
 */
function judge(link: Link, depth: number, maxDepth: number | null): Pick<Discovery, 'reason' | 'detail' | 'extra'> {
  const extra = extraText(link.extra);
  if (extra !== null && extra.length > MAX_EXTRA) {
    const detail = `method, headers, body and passed values take ${extra.length} characters; at most ${MAX_EXTRA} are kept`;
    return { reason: 'request_too_large', detail, extra: null };
  }
  const tooDeepForCrawl = link.reason === 'depth' && link.detail?.startsWith('maxDepth ') === true;
  const isNear = tooDeepForCrawl && maxDepth !== null && depth <= maxDepth;
  return isNear ? { reason: null, detail: null, extra } : { reason: link.reason, detail: link.detail, extra };
}

/** Stores the discoveries and what they change in older rows. @returns those that were new, by fingerprint */
export async function storeDiscoveries(
  tx: Tx,
  discoveries: readonly Discovery[],
  crawls: ReadonlyMap<string, LockedCrawl>,
  tally: Tally,
): Promise<ByCrawl<string, Discovery>> {
  const changed: ReconsideredRequest[] = [];
  const fresh = new ByCrawl<string, Discovery>();
  for (let from = 0; from < discoveries.length; from += MAX_ROWS) {
    const rows = discoveries.slice(from, from + MAX_ROWS);
    await holdToBudgets(tx, rows, crawls, tally.queues);
    countInserted(rows, await insertDiscoveries(tx, rows), fresh, tally);
    // What was new needs no second look: nearly all is, since the parser leaves out what the node knows.
    const again = rows.filter((d) => d.reason === null && !fresh.has(d.crawlId, d.fp));
    const nearer = again.map((d) => crawls.get(d.crawlId)!.maxDepth !== null);
    changed.push(...(await reconsider(tx, again, nearer, 'bring')));
  }
  await comeNearer(tx, changed, crawls, tally);
  return fresh;
}

function countInserted(
  discoveries: readonly Discovery[],
  inserted: readonly InsertedRequest[],
  fresh: ByCrawl<string, Discovery>,
  tally: Tally,
): void {
  const places = new ByCrawl<number, true>();
  for (const { crawlId, seq } of inserted) places.set(crawlId, seq, true);
  for (const row of discoveries) {
    if (!places.has(row.crawlId, row.seq)) continue;
    fresh.set(row.crawlId, row.fp, row);
    const delta = tally.crawls.get(row.crawlId)!;
    delta.discovered++;
    if (row.reason === null && row.hostId !== null) {
      delta.queued++;
      tally.queues.queue(row.crawlId, row.hostId, row.rank);
    } else {
      delta.skipped++;
      tally.counts.add(row.crawlId, 'reason', row.reason ?? 'bad_url');
    }
  }
}

/** Counts what was reconsidered, and goes on to the pages behind those that came nearer after they were fetched. */
async function comeNearer(
  tx: Tx,
  first: readonly ReconsideredRequest[],
  crawls: ReadonlyMap<string, LockedCrawl>,
  tally: Tally,
): Promise<void> {
  for (let changed = first; changed.length > 0; ) {
    for (const row of changed) countReconsidered(row, crawls, tally);
    const pages = changed.filter((row) => hasLinks(row) && crawls.get(row.crawlId)!.maxDepth !== null);
    if (pages.length === 0) return;
    const behind = (await fartherLinks(tx, pages)).map((row) => {
      const crawl = crawls.get(row.crawlId)!;
      const rank = rankOf(crawl.order, row.priority, row.depth, row.seq);
      return { ...row, rank, hostId: null, reason: null, detail: null, extra: null };
    });
    const reachable = behind.filter((row) => row.depth <= (crawls.get(row.crawlId)!.maxDepth ?? Infinity));
    await holdToBudgets(tx, reachable, crawls, tally.queues);
    const queueable = reachable.filter(({ reason }) => reason === null);
    changed = await reconsider(
      tx,
      queueable,
      queueable.map(() => true),
      'keep',
    );
  }
}

/** Read by this crawl, or by an earlier one whose links it followed. */
function hasLinks({ was, wasReason }: ReconsideredRequest): boolean {
  return was === STATE.done || wasReason === 'unchanged' || wasReason === 'already_scraped';
}

function countReconsidered(row: ReconsideredRequest, crawls: ReadonlyMap<string, LockedCrawl>, tally: Tally): void {
  if (row.state !== STATE.queued || row.hostId === null) return;
  const delta = tally.crawls.get(row.crawlId)!;
  const rank = rankOf(crawls.get(row.crawlId)!.order, 2047, row.depth, 0);
  tally.queues.queue(row.crawlId, row.hostId, rank);
  if (row.was === STATE.queued) tally.queues.of(row.crawlId, row.hostId).queued--;
  else {
    delta.queued++;
    delta.skipped--;
    tally.counts.add(row.crawlId, 'reason', row.wasReason ?? 'denied', -1);
  }
}

/** For crawls with `maxDepth`: which pages link where, so that `comeNearer` can follow it later. */
export async function storePageLinks(tx: Tx, applied: readonly AppliedOutcome[]): Promise<void> {
  const pages = applied
    .filter(({ outcome }) => outcome.page !== null && outcome.page.linkedFps.length > 0)
    .map(({ outcome }) => ({ crawlId: outcome.crawlId, seq: outcome.seq, fps: outcome.page!.linkedFps }));
  await insertPageLinks(tx, pages);
}
