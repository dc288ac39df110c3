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
