import type { Reason } from '../model/request.ts';
import type { Db, Tx } from './client.ts';

/** A failed request, for the events of a crawl. */
export interface FailedRow {
  /** Its place among the crawl's failures, in the order of their commits. */
  n: number;
  url: string;
  reason: Reason | null;
  detail: string | null;
  status: number | null;
  attempts: number;
  finished_at: Date;
}

/**
 * Numbers requests that this transaction let fail. It holds their crawls' row locks, under which the counter of failures
 * grows as well: who has read up to a number can miss none that is committed later. Their times do not give that.
 *
 * @param after the crawls' counters of failures, these included
 */
export async function numberFailures(
  tx: Tx,
  failed: readonly { crawlId: string; fp: string }[],
  after: readonly { id: string; failed: number }[],
): Promise<void> {
  if (failed.length === 0) return;
  const next = new Map(after.map(({ id, failed: n }) => [id, n]));
  for (const { crawlId } of failed) next.set(crawlId, next.get(crawlId)! - 1);
  const numbers = failed.map(({ crawlId }) => {
    const n = next.get(crawlId)!;
    next.set(crawlId, n + 1);
    return n;
  });
  await tx`
    update requests r set failed_n = u.n
    from unnest(${failed.map((f) => f.crawlId)}::uuid[], ${failed.map((f) => f.fp)}::uuid[], ${numbers}::bigint[])
      as u (crawl_id, fp, n)
    where r.crawl_id = u.crawl_id and r.fp = u.fp`;
}

/** Failures with numbers from `from` to below `to`, in their order. */
export async function readFailures(
  db: Db,
  crawlId: string,
  { from, to, limit }: { from: number; to: number; limit: number },
): Promise<FailedRow[]> {
  return db<FailedRow[]>`
    select failed_n as n, url, reason, detail, status, attempts, finished_at from requests
    where crawl_id = ${crawlId} and failed_n >= ${from} and failed_n < ${to}
    order by failed_n limit ${limit}`;
}
