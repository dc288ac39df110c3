import { setImmediate as nextTurn } from 'node:timers/promises';
import { crawlKey, type KnownFingerprints, skippedKey } from '../model/known.ts';
import type { CommitResult } from '../pipeline/commit.ts';

/** Rows of one turn of the event loop: a sitemap brings 50,000. */
const MAX_ROWS = 2000;

/** Spares the database links to what a commit has put into the ledger. */
export async function rememberDiscoveries(known: KnownFingerprints, rows: CommitResult['discoveries']): Promise<void> {
  const keys = new Map<string, { queued: Uint32Array; skipped: Uint32Array }>();
  for (const [i, row] of rows.entries()) {
    if (i > 0 && i % MAX_ROWS === 0) await nextTurn();
    let key = keys.get(row.crawlId);
    if (key === undefined) {
      key = { queued: crawlKey(row.crawlId), skipped: skippedKey(row.crawlId) };
      keys.set(row.crawlId, key);
    }
    // A trap is one for good: no other rule and no nearer page takes it.
    const isSettled = row.reason === null || row.reason === 'trap';
    known.add(isSettled ? key.queued : key.skipped, row.fp, row.depth);
  }
}

/**
 * The host queues that got something. A queue may be there more than once; not as often as it got something, though: rows come
 * crawl by crawl, and most of a page's links are of one host.
 */
export function queuesOf(rows: CommitResult['discoveries']): { crawlId: string; hostId: number }[] {
  const queues: { crawlId: string; hostId: number }[] = [];
  for (const { crawlId, hostId, reason } of rows) {
    if (reason !== null || hostId === null) continue;
    const last = queues.at(-1);
    if (hostId !== last?.hostId || crawlId !== last.crawlId) queues.push({ crawlId, hostId });
  }
  return queues;
}
