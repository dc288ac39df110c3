import type { Tx } from '../db/client.ts';
import type { Discovery } from '../db/discoveries.ts';
import { requeueBehind } from '../db/returns.ts';
import type { ByCrawl } from '../model/by_crawl.ts';
import { extraText } from '../model/extra.ts';
import type { Link, Outcome } from '../model/outcome.ts';
import type { AppliedOutcome, Tally } from './discoveries.ts';

/** A redirect whose target was in the ledger already. */
interface RepeatedRedirect {
  crawlId: string;
  fp: string;
  reason: 'redirect_duplicate';
  items: 0;
}

/**
 * Redirects to known URLs: such a target is fetched once more where it lies behind and may be (`Link.again`), else the
 * redirect is a `redirect_duplicate`. Counts either.
 *
 * @param fresh the discoveries that were new, by fingerprint
 */
export async function repeatedRedirects(
  tx: Tx,
  applied: readonly AppliedOutcome[],
  fresh: ByCrawl<string, Discovery>,
  tally: Tally,
): Promise<RepeatedRedirect[]> {
  const repeated: RepeatedRedirect[] = [];
  const taken = new Set<Discovery>();
  for (const { outcome } of applied) {
    if (outcome.reason !== 'redirected') continue;
    const { crawlId, fp, page } = outcome;
    const links = page?.links ?? [];
    const found = links.map((link) => fresh.get(crawlId, link.fp)).find((one) => one !== undefined && !taken.has(one));
    if (found !== undefined) {
      taken.add(found);
      continue;
    }
    const again = links.find((link) => link.again === true);
    if (again !== undefined && (await goBack(tx, outcome, again, tally))) continue;
    tally.counts.add(crawlId, 'reason', 'redirected', -1);
    tally.counts.add(crawlId, 'reason', 'redirect_duplicate');
    repeated.push({ crawlId, fp, reason: 'redirect_duplicate', items: 0 });
  }
  return repeated;
}

async function goBack(tx: Tx, outcome: Outcome, { fp, extra }: Link, tally: Tally): Promise<boolean> {
  const { crawlId, seq, redirects } = outcome;
  const written = extra?.sent === undefined ? null : extraText(extra);
  const requeued = await requeueBehind(tx, crawlId, seq, { fp, redirects: redirects + 1, extra: written });
  if (requeued === null) return false;
  const delta = tally.crawls.get(crawlId)!;
  delta.skipped--;
  delta.queued++;
  tally.queues.of(crawlId, requeued.hostId).skipped--;
  tally.queues.queue(crawlId, requeued.hostId, requeued.rank);
  tally.counts.add(crawlId, 'reason', 'redirected', -1);
  return true;
}
