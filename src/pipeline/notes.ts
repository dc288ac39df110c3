import type { Tx } from '../db/client.ts';
import { type StoredCookie, storeCookies } from '../db/crawl_cookies.ts';
import { insertLogs, type NewLogLine } from '../db/crawl_logs.ts';
import { type StateChange, storeState } from '../db/crawl_state.ts';
import { addWarning } from '../db/crawl_warnings.ts';
import type { CountDeltas, LockedCrawl } from '../db/outcomes.ts';
import type { AppliedOutcome } from './discoveries.ts';

/** Lines of its log that a crawl keeps; those beyond are counted. */
const MAX_LOG_LINES = 10_000;

/**
 * What applied outcomes leave besides items and requests: log lines (of failed attempts too), state of scripts, cookies,
 * warnings.
 *
 * @returns the new version of the cookies of each crawl that changed them
 */
export async function storeNotes(
  tx: Tx,
  nodeId: string,
  applied: readonly AppliedOutcome[],
  crawls: ReadonlyMap<string, LockedCrawl>,
): Promise<Map<string, number>> {
  const { lines, counted } = logLines(applied, crawls);
  await insertLogs(tx, lines, counted);
  await storeState(tx, stateChanges(applied));
  const cookieVersions = await storeCookies(tx, nodeId, cookieChanges(applied));
  for (const { outcome } of applied)
    for (const warning of outcome.warnings ?? [])
      await addWarning(tx, outcome.crawlId, { ...warning, text: storable(warning.text) });
  return cookieVersions;
}

function logLines(applied: readonly AppliedOutcome[], crawls: ReadonlyMap<string, LockedCrawl>) {
  const lines: NewLogLine[] = [];
  const counted = new Map<string, number>();
  for (const { outcome } of applied) {
    const { crawlId, url, fetchedAt: at } = outcome;
    for (const { level, message } of outcome.logs ?? outcome.page?.logs ?? []) {
      const before = counted.get(crawlId) ?? 0;
      const n = crawls.get(crawlId)!.logLines + before;
      if (n < MAX_LOG_LINES) lines.push({ crawlId, n, at, level, url, message: storable(message) });
      counted.set(crawlId, before + 1);
    }
  }
  return { lines, counted };
}

/** The last change of each key, in the order of the keys, so that two transactions meet in the same order. */
function stateChanges(applied: readonly AppliedOutcome[]): StateChange[] {
  const changes = new Map<string, StateChange>();
  for (const { outcome } of applied)
    for (const [key, value] of Object.entries(outcome.page?.state ?? {}))
      changes.set(`${outcome.crawlId} ${key}`, { crawlId: outcome.crawlId, key, value });
  return [...changes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, change]) => change);
}

/** The last change of each cookie, in the order of the keys. */
function cookieChanges(applied: readonly AppliedOutcome[]): StoredCookie[] {
  const changes = new Map<string, StoredCookie>();
  for (const { outcome } of applied)
    for (const change of outcome.cookies ?? []) {
      const place = outcome.crawlId + change.key;
      if ((changes.get(place)?.n ?? 0) < change.n) changes.set(place, { ...change, crawlId: outcome.crawlId });
    }
  return [...changes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, change]) => change);
}

/** PostgreSQL takes neither NUL nor lone surrogates. */
function storable(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd');
}

/** CPU by page entry or callback in microseconds with its pages, and the calls that scripts made. */
export function countWork({ outcome }: AppliedOutcome, counts: CountDeltas): void {
  const { crawlId, page, calls } = outcome;
  for (const [key, ms] of Object.entries(page?.cpu ?? {})) {
    counts.add(crawlId, 'cpu_us', key, Math.round(ms * 1000));
    counts.add(crawlId, 'cpu_pages', key);
  }
  for (const [key, n] of Object.entries(calls ?? {})) counts.add(crawlId, 'call', key, n);
}
