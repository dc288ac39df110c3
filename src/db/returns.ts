import { STATE } from '../model/request.ts';
import type { Tx } from './client.ts';

/** Pages on the way to a request that are looked at. */
const MAX_HOPS = 20;

/**
 * Queues a request again that was skipped because it redirected, where it is itself the one with the number `seq`, or on the
 * way that led to that one. The crawl's row is locked.
 *
 * @param redirects hops of the chain that leads back to it
 * @param extra JSON text of its new `RequestExtra`; null: as it is
 * @returns its host and rank; null: it is none of these
 */
export async function requeueBehind(
  tx: Tx,
  crawlId: string,
  seq: number,
  { fp, redirects, extra }: { fp: string; redirects: number; extra: string | null },
): Promise<{ hostId: number; rank: bigint } | null> {
  const [behind] = await tx<{ seq: number }[]>`
    with recursive way as (
      select seq, parent, fp, 0 as hop from requests where crawl_id = ${crawlId} and seq = ${seq}
      union all
      select r.seq, r.parent, r.fp, w.hop + 1 from way w join requests r on r.crawl_id = ${crawlId} and r.seq = w.parent
      where w.hop < ${MAX_HOPS}::int
    )
    select seq from way where fp = ${fp}::uuid`;
  if (behind === undefined) return null;
  const [row] = await tx<{ hostId: number; rank: string }[]>`
    update requests set state = ${STATE.queued}, reason = null, detail = null, redirects = ${redirects},
      extra = coalesce(${extra}::text::json, extra)
    where crawl_id = ${crawlId} and fp = ${fp}::uuid and state = ${STATE.skipped} and reason = 'redirected'
    returning host_id as "hostId", rank::text as rank`;
  return row === undefined ? null : { hostId: row.hostId, rank: BigInt(row.rank) };
}
