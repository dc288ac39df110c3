import { inKeyedTransaction, type Sql, type Tx } from '../db/client.ts';
import { applyCrawlDeltas, type CrawlDelta, emptyDelta, settleCrawls } from '../db/crawl_counters.ts';
import type { Discovery } from '../db/discoveries.ts';
import { numberFailures } from '../db/failures.ts';
import { applyQueueDeltas, QueueDeltas } from '../db/host_queues.ts';
import { fencedHosts } from '../db/hosts.ts';
import {
  amendRequests,
  CountDeltas,
  type FinishedRequest,
  finishRequests,
  insertItems,
  type LockedCrawl,
  lockForCommit,
  type NewItem,
  notifyCrawls,
} from '../db/outcomes.ts';
import { ByCrawl } from '../model/by_crawl.ts';
import type { CrawlState } from '../model/crawl.ts';
import type { ItemRow, ItemState, Outcome } from '../model/outcome.ts';
import { BatchKeys } from './dedupe.ts';
import { type AppliedOutcome, collectDiscoveries, storeDiscoveries, storePageLinks } from './discoveries.ts';
import { compareItems, rememberPages } from './incremental.ts';
import { countWork, storeNotes } from './notes.ts';
import { repeatedRedirects } from './returns.ts';

/** In all others nothing is in flight: what still comes is refused by its request's state. */
const ACTIVE_STATES: readonly CrawlState[] = ['running', 'pausing'];

/** What a commit did. */
export interface CommitResult {
  /** Outcomes that are in the ledger now. */
  applied: Outcome[];
  /** Outcomes that came after the item that filled `maxItems`, in a crawl that goes on nevertheless: to be tried again. */
  postponed: Outcome[];
  /** Hosts of the batch whose lease this node holds no more: their outcomes were refused (invariant 3). */
  lostHosts: number[];
  /** Every discovery of the batch; all are in the ledger now. */
  discoveries: Discovery[];
  /** Crawls that got items, and the crawls that changed state, with it. */
  touched: string[];
  changed: Map<string, CrawlState>;
  /** Crawls whose cookies changed, with the version that these have now. */
  cookieVersions: ReadonlyMap<string, number>;
  /** Crawls whose requests have all ended: `listGone` is due. */
  fetched: string[];
}

/**
 * Commits a batch of outcomes of any crawls in one transaction of set-based statements: final states, items, discovered
 * requests, counters, all or nothing (invariant 2), fenced by the host leases (3), with gapless offsets under the crawls'
 * row locks (4), and with the crawl's end decided in the same transaction (8). May be repeated blindly when the answer to
 * a COMMIT was lost.
 *
 * @param hostIds ids of every origin among the outcomes' links
 * @param notify whether other nodes want a wake-up
 */
export async function commitOutcomes(
  sql: Sql,
  nodeId: string,
  outcomes: readonly Outcome[],
  hostIds: ReadonlyMap<string, number>,
  notify: boolean,
): Promise<CommitResult> {
  return inKeyedTransaction(sql, async (tx) => {
    const hosts = [
      ...new Map(outcomes.map((o) => [`${o.hostId} ${o.fence}`, { id: o.hostId, fence: o.fence }])).values(),
    ];
    const [crawls, held] = await Promise.all([
      lockForCommit(tx, [...new Set(outcomes.map((o) => o.crawlId))]),
      fencedHosts(tx, nodeId, hosts),
    ]);
    const eligible = eachOnce(outcomes).filter((o) => held.get(o.hostId) === o.fence && crawls.has(o.crawlId));
    const { now, later } = splitAtMaxItems(eligible, crawls);
    const finished = new ByCrawl<number, FinishedRequest>();
    for (const row of await finishRequests(tx, now)) finished.set(row.crawlId, row.seq, row);
    const applied = now.flatMap((outcome) => {
      const row = finished.get(outcome.crawlId, outcome.seq);
      return row?.attempts === outcome.attempts ? [{ outcome, depth: row.depth }] : [];
    });
    const { discoveries, changed, fetched, cookieVersions } = await storeApplied(tx, nodeId, applied, crawls, hostIds);
    // With nothing of theirs applied, nobody has asked whether they are at their end.
    const waiting = [...new Set(later.map((o) => o.crawlId))].filter((id) => !changed.has(id));
    const statuses = await applyCrawlDeltas(tx, waiting.map(emptyDelta));
    for (const [id, state] of await settleCrawls(tx, statuses, (id) => fetched.push(id))) changed.set(id, state);
    const touched = [...new Set(applied.map(({ outcome }) => outcome.crawlId))];
    if (notify && touched.length > 0) await notifyCrawls(tx, touched);
    return {
      applied: applied.map(({ outcome }) => outcome),
      postponed: later.filter((o) => !changed.has(o.crawlId)),
      lostHosts: [...new Set(hosts.map((h) => h.id))].filter((id) => !held.has(id)),
      discoveries,
      touched,
      changed,
      cookieVersions,
      fetched,
    };
  });
}

/** One outcome for each attempt. A second one would be refused in a later batch; in one batch both would find their request. */
function eachOnce(outcomes: readonly Outcome[]): Outcome[] {
  return [...new Map(outcomes.map((outcome) => [attemptOf(outcome), outcome])).values()];
}

function attemptOf({ crawlId, seq, attempts }: Pick<Outcome, 'crawlId' | 'seq' | 'attempts'>): string {
  return `${crawlId} ${seq} ${attempts}`;
}

/**
 * Outcomes with items that come after the one that fills `maxItems` stay out: the crawl ends here, their requests go back
 * to the queue with it, and a resumed crawl fetches them again, so that no item of theirs is lost.
 */
function splitAtMaxItems(
  outcomes: readonly Outcome[],
  crawls: ReadonlyMap<string, LockedCrawl>,
): { now: Outcome[]; later: Outcome[] } {
  const room = new Map([...crawls.values()].map((c) => [c.id, c.maxItems === null ? Infinity : c.maxItems - c.items]));
  const now: Outcome[] = [];
  const later: Outcome[] = [];
  for (const outcome of outcomes) {
    const n = outcome.page?.items.length ?? 0;
    const left = room.get(outcome.crawlId)!;
    const isActive = ACTIVE_STATES.includes(crawls.get(outcome.crawlId)!.state);
    if (isActive && n > 0 && left <= 0) later.push(outcome);
    else now.push(outcome);
    room.set(outcome.crawlId, left - n);
  }
  return { now, later };
}

async function storeApplied(
  tx: Tx,
  nodeId: string,
  applied: readonly AppliedOutcome[],
  crawls: ReadonlyMap<string, LockedCrawl>,
  hostIds: ReadonlyMap<string, number>,
): Promise<Pick<CommitResult, 'discoveries' | 'changed' | 'fetched' | 'cookieVersions'>> {
  const deltas = new Map<string, CrawlDelta>();
  for (const { outcome } of applied)
    if (!deltas.has(outcome.crawlId)) deltas.set(outcome.crawlId, emptyDelta(outcome.crawlId));
  const tally = { crawls: deltas, queues: new QueueDeltas(), counts: new CountDeltas() };
  const keys = await BatchKeys.take(tx, applied, crawls);
  const { items, cut, dropped } = placeItems(applied, crawls, deltas, tally.counts, keys);
  for (const { outcome } of applied) countOutcome(outcome, deltas.get(outcome.crawlId)!, tally.queues, tally.counts);
  for (const one of applied) countWork(one, tally.counts);
  const discoveries = await collectDiscoveries(applied, crawls, hostIds, tally);
  await compareItems(tx, items, dropped, crawls, tally.counts);
  const [fresh, cookieVersions] = await Promise.all([
    storeDiscoveries(tx, discoveries, crawls, tally),
    storeNotes(tx, nodeId, applied, crawls),
    insertItems(tx, items),
    keys.release(tx),
    storePageLinks(tx, applied),
    rememberPages(tx, applied, crawls, cut),
  ]);
  await amendRequests(tx, [...cut, ...(await repeatedRedirects(tx, applied, fresh, tally))]);
  const [statuses] = await Promise.all([
    applyCrawlDeltas(tx, [...deltas.values()]),
    applyQueueDeltas(tx, tally.queues.sorted()),
    tally.counts.store(tx),
  ]);
  const failed = applied.filter(({ outcome }) => outcome.state === 'failed').map(({ outcome }) => outcome);
  await numberFailures(tx, failed, statuses);
  const fetched: string[] = [];
  const changed = await settleCrawls(tx, statuses, (id) => fetched.push(id));
  return { discoveries, changed, fetched, cookieVersions };
}

/**
 * Gives each item its offset. Duplicates are dropped, and what goes beyond `maxItems` on the last page; both are counted
 * as that.
 */
function placeItems(
  applied: readonly AppliedOutcome[],
  crawls: ReadonlyMap<string, LockedCrawl>,
  deltas: ReadonlyMap<string, CrawlDelta>,
  counts: CountDeltas,
  keys: BatchKeys,
): {
  items: NewItem[];
  cut: { crawlId: string; fp: string; reason: string | null; items: number }[];
  /** Those with a state that are not stored. */
  dropped: { crawlId: string; state: ItemState }[];
} {
  const items: NewItem[] = [];
  const cut = [];
  const unseen = [];
  for (const { outcome } of applied) {
    if (outcome.page === null) continue;
    const crawl = crawls.get(outcome.crawlId)!;
    const delta = deltas.get(outcome.crawlId)!;
    const room = crawl.maxItems === null ? Infinity : crawl.maxItems - crawl.items - delta.items;
    const { kept, duplicates } = choose(outcome.page.items, room, crawl, keys);
    const dropped = outcome.page.items.length - kept.length;
    if (dropped > 0) {
      for (const { state } of without(outcome.page.items, kept))
        if (state !== undefined) unseen.push({ crawlId: crawl.id, state });
      delta.dropped += dropped;
      if (duplicates > 0) counts.add(crawl.id, 'drop', 'duplicate', duplicates);
      if (dropped > duplicates) counts.add(crawl.id, 'drop', 'max_items', dropped - duplicates);
      cut.push({ crawlId: crawl.id, fp: outcome.fp, reason: null, items: kept.length });
    }
    for (const item of kept) {
      const offset = crawl.items + delta.items++;
      delta.itemBytes += item.size;
      items.push({
        ...item,
        crawlId: crawl.id,
        offset,
        seq: outcome.seq,
        url: outcome.url,
        scrapedAt: outcome.fetchedAt,
        pageFp: outcome.fp,
      });
    }
  }
  return { items, cut, dropped: unseen };
}

function without<T>(list: readonly T[], some: readonly T[]): T[] {
  const left = new Set(some);
  return list.filter((one) => !left.has(one));
}

/** The items of a page that are stored: no duplicates, and no more than there is room for. */
function choose(
  items: readonly ItemRow[],
  room: number,
  crawl: LockedCrawl,
  keys: BatchKeys,
): { kept: ItemRow[]; duplicates: number } {
  const kept: ItemRow[] = [];
  let duplicates = 0;
  for (const item of items)
    if (keys.isDuplicate(item, crawl)) duplicates++;
    else if (kept.length < room) {
      keys.claim(item, crawl);
      kept.push(item);
    }
  return { kept, duplicates };
}

function countOutcome(outcome: Outcome, delta: CrawlDelta, queues: QueueDeltas, counts: CountDeltas): void {
  const { crawlId, page } = outcome;
  const queue = queues.of(crawlId, outcome.hostId);
  delta.inProgress--;
  queue.inProgress--;
  if (outcome.state === 'delayed') {
    delta.queued++;
    delta.retried++;
    queue.queued++;
  } else {
    delta[outcome.state]++;
    queue[outcome.state]++;
    // Whether a redirect repeats a known URL is not known yet: repeatedRedirects corrects it.
    if (outcome.reason !== null) counts.add(crawlId, 'reason', outcome.reason);
  }
  delta.bodyBytes += outcome.bodyBytes;
  delta.wireBytes += outcome.wireBytes;
  if (outcome.status !== null) {
    counts.add(crawlId, 'status', String(outcome.status));
    counts.add(crawlId, 'fetch_ms', String(2 ** Math.ceil(Math.log2(Math.max(1, outcome.fetchMs)))));
  }
  if (page === null) return;
  for (const [key, n] of Object.entries(page.fills)) counts.add(crawlId, key.includes('.') ? 'field' : 'type', key, n);
  for (const [key, n] of Object.entries(page.dropped)) {
    counts.add(crawlId, 'drop', key, n);
    delta.dropped += n;
  }
  for (const flag of page.flags) counts.add(crawlId, 'flag', flag);
  for (const [key, n] of Object.entries(page.steps ?? {})) counts.add(crawlId, 'step', key, n);
}
