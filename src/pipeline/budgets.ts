import {
  addPatterns,
  type KnownRequest,
  knownRequests,
  type PatternCount,
  patternCounts,
  queuedOf,
} from '../db/budgets.ts';
import type { Tx } from '../db/client.ts';
import type { Discovery } from '../db/discoveries.ts';
import type { QueueDeltas } from '../db/host_queues.ts';
import type { LockedCrawl } from '../db/outcomes.ts';
import { readExtra } from '../model/extra.ts';
import { STATE } from '../model/request.ts';
import { patternKey, patternOf } from '../model/url_pattern.ts';

/** A discovery that would be queued. */
interface Candidate {
  row: Discovery;
  crawl: LockedCrawl;
  hostId: number | null;
  /** Null: the crawl does not count patterns. */
  pattern: Pattern | null;
}

interface Pattern {
  key: string;
  text: string;
  /** URLs queued before this commit, and by it. */
  before: number;
  added: number;
}

/**
 * Holds discoveries to their crawls' `maxUrlsPerPattern` and `maxQueuePerHost`: those beyond become skipped, as traps, the
 * first found being the first queued. They stay that: what is skipped is in the ledger, and is not discovered again. Exact over
 * any number of nodes, since the crawls' row locks are held. A crawl with neither limit costs nothing.
 *
 * @param discoveries of one statement's size; `reason` and `detail` are changed
 * @param queues what this commit has changed in the queues so far
 */
export async function holdToBudgets(
  tx: Tx,
  discoveries: readonly Discovery[],
  crawls: ReadonlyMap<string, LockedCrawl>,
  queues: QueueDeltas,
): Promise<void> {
  if (![...crawls.values()].some(isBounded)) return;
  const bounded = discoveries.filter((row) => isBounded(crawls.get(row.crawlId)!) && isPage(row));
  if (bounded.length === 0) return;
  const candidates = candidatesOf(bounded, await knownRequests(tx, bounded), crawls);
  const [patterns, rooms] = [await readPatterns(tx, candidates), await readRooms(tx, candidates, queues)];
  for (const candidate of candidates) admit(candidate, rooms);
  const counts = [...patterns.values()].filter(({ added }) => added > 0);
  await addPatterns(tx, counts.map(({ crawlId, key, added }) => ({ crawlId, pattern: key, n: added })).sort(byKey));
}

function isBounded({ maxUrlsPerPattern, maxQueuePerHost }: LockedCrawl): boolean {
  return maxUrlsPerPattern !== null || maxQueuePerHost !== null;
}

/** Sitemaps are no pages: their number is bounded elsewhere, and `sitemap-1.xml` to `sitemap-500.xml` are of one pattern. */
function isPage({ reason, extra }: Discovery): boolean {
  return reason === null && readExtra(extra)?.kind === undefined;
}

function byKey(a: PatternCount, b: PatternCount): number {
  return a.crawlId + a.pattern < b.crawlId + b.pattern ? -1 : 1;
}

/** What is new to the ledger, or was skipped there and would be queued now (`reconsider`), in the order of discovery. */
function candidatesOf(
  rows: readonly Discovery[],
  known: readonly KnownRequest[],
  crawls: ReadonlyMap<string, LockedCrawl>,
): Candidate[] {
  const byFp = new Map(known.map((row) => [row.crawlId + row.fp, row]));
  return rows
    .flatMap((row) => {
      const old = byFp.get(row.crawlId + row.fp);
      const isOpen =
        old === undefined || (old.state === STATE.skipped && (old.reason === 'denied' || old.reason === 'depth'));
      const hostId = old?.hostId ?? row.hostId;
      return isOpen ? [{ row, crawl: crawls.get(row.crawlId)!, hostId, pattern: null }] : [];
    })
    .sort((a, b) => a.row.seq - b.row.seq);
}

/** Gives each candidate its pattern, counted so far. */
async function readPatterns(
  tx: Tx,
  candidates: readonly Candidate[],
): Promise<Map<string, Pattern & { crawlId: string }>> {
  const patterns = new Map<string, Pattern & { crawlId: string }>();
  for (const candidate of candidates) {
    const { crawl, row } = candidate;
    if (crawl.maxUrlsPerPattern === null) continue;
    const text = patternOf(row.url);
    const id = `${crawl.id} ${text}`;
    const pattern = patterns.get(id) ?? { crawlId: crawl.id, key: patternKey(text), text, before: 0, added: 0 };
    patterns.set(id, pattern);
    candidate.pattern = pattern;
  }
  const keys = [...patterns.values()].map(({ crawlId, key }) => ({ crawlId, pattern: key }));
  const byKeys = new Map((await patternCounts(tx, keys)).map(({ crawlId, pattern, n }) => [crawlId + pattern, n]));
  for (const pattern of patterns.values()) pattern.before = byKeys.get(pattern.crawlId + pattern.key) ?? 0;
  return patterns;
}

/** What each host queue has room for. */
async function readRooms(tx: Tx, candidates: readonly Candidate[], queues: QueueDeltas): Promise<Map<string, number>> {
  const asked = new Map<string, { crawlId: string; hostId: number; max: number }>();
  for (const { crawl, hostId } of candidates)
    if (crawl.maxQueuePerHost !== null && hostId !== null)
      asked.set(`${crawl.id} ${hostId}`, { crawlId: crawl.id, hostId, max: crawl.maxQueuePerHost });
  const rows = await queuedOf(tx, [...asked.values()]);
  const queued = new Map(rows.map(({ crawlId, hostId, n }) => [`${crawlId} ${hostId}`, n]));
  return new Map(
    [...asked].map(([key, { crawlId, hostId, max }]) => {
      return [key, max - (queued.get(key) ?? 0) - queues.of(crawlId, hostId).queued];
    }),
  );
}

function admit({ row, crawl, hostId, pattern }: Candidate, rooms: Map<string, number>): void {
  const { maxUrlsPerPattern, maxQueuePerHost } = crawl;
  const key = `${crawl.id} ${hostId}`;
  const room = rooms.get(key);
  if (pattern !== null && maxUrlsPerPattern !== null && pattern.before + pattern.added >= maxUrlsPerPattern)
    skip(row, `maxUrlsPerPattern ${maxUrlsPerPattern}: ${pattern.text}`);
  else if (room !== undefined && room <= 0) skip(row, `maxQueuePerHost ${maxQueuePerHost}`);
  else {
    if (pattern !== null) pattern.added++;
    if (room !== undefined) rooms.set(key, room - 1);
  }
}

function skip(row: Discovery, detail: string): void {
  row.reason = 'trap';
  row.detail = detail.slice(0, 1000);
}
