import { STATE } from '../model/request.ts';
import type { Tx } from './client.ts';
import { type CrawlDelta, emptyDelta } from './crawl_counters.ts';
import { NO_RANK } from './host_queues.ts';
import { CountDeltas } from './outcomes.ts';

interface HostQueueKey {
  crawlId: string;
  hostId: number;
}

/** `maxPagesPerHost` of the crawls that have one. */
type HostCaps = ReadonlyMap<string, number>;

/** Requests of one claim that are skipped: a host queue of a million must not hold the crawl's row for seconds. */
const MAX_SKIPPED = 2000;

/** What `maxPagesPerHost` leaves of the host queues that were asked for; those of other crawls are not there. */
interface HostBudgets {
  /** Pages that may still be claimed, by `queueKey`. */
  rooms: ReadonlyMap<string, number>;
  /** Used up for good: as many pages are done, and none is in progress. */
  spent: readonly HostQueueKey[];
}

/** For maps. */
export const queueKey = ({ crawlId, hostId }: HostQueueKey): string => `${crawlId} ${hostId}`;

/** The crawls' row locks must be held: who claims, commits or hands back takes them first, so no node goes beyond. */
export async function hostBudgets(tx: Tx, wants: readonly HostQueueKey[], caps: HostCaps): Promise<HostBudgets> {
  const capped = wants.filter((want) => caps.has(want.crawlId));
  if (capped.length === 0) return { rooms: new Map(), spent: [] };
  const rows = await tx<{ crawlId: string; hostId: number; done: number; inProgress: number }[]>`
    select q.crawl_id as "crawlId", q.host_id as "hostId", q.done, q.in_progress as "inProgress"
    from unnest(${capped.map((w) => w.crawlId)}::uuid[], ${capped.map((w) => w.hostId)}::bigint[]) as u (crawl_id, host_id)
    join host_queues q on q.crawl_id = u.crawl_id and q.host_id = u.host_id`;
  const rooms = new Map(rows.map((row) => [queueKey(row), caps.get(row.crawlId)! - row.done - row.inProgress]));
  const idle = new Set(rows.filter(({ inProgress }) => inProgress === 0).map(queueKey));
  return { rooms, spent: capped.filter((w) => (rooms.get(queueKey(w)) ?? 0) <= 0 && idle.has(queueKey(w))) };
}

interface SkippedRow {
  crawlId: string;
  hostId: number;
  rank: string;
  was_delayed: boolean;
}

/**
 * Skips what is queued for hosts whose budget is used up, a bounded number at a time, delayed ones included.
 *
 * @returns for each by `queueKey` whether more is left; and what the crawls' counters change by
 */
export async function skipSpent(
  tx: Tx,
  spent: readonly HostQueueKey[],
  caps: HostCaps,
): Promise<{ more: Map<string, boolean>; deltas: CrawlDelta[] }> {
  if (spent.length === 0) return { more: new Map(), deltas: [] };
  const most = Math.ceil(MAX_SKIPPED / spent.length);
  // As the claim picks: behind the dead index entries of what was finished. The states are literals for the partial indexes.
  const rows = await tx<SkippedRow[]>`
    with picked as materialized (
      select p.* from unnest(${spent.map((w) => w.crawlId)}::uuid[], ${spent.map((w) => w.hostId)}::bigint[],
                             ${spent.map((w) => `maxPagesPerHost ${caps.get(w.crawlId)}`)}::text[]) as w (crawl_id, host_id, detail)
      join host_queues q on q.crawl_id = w.crawl_id and q.host_id = w.host_id
      cross join lateral (
        (select r.crawl_id, r.fp, w.detail, true as was_delayed from requests r
         where r.crawl_id = w.crawl_id and r.host_id = w.host_id and r.state = 1
         order by r.ready_at limit ${most}::int)
        union all
        (select r.crawl_id, r.fp, w.detail, false from requests r
         where r.crawl_id = w.crawl_id and r.host_id = w.host_id and r.state = 0 and r.rank >= q.head
         order by r.rank limit ${most}::int)
        limit ${most}::int
      ) p
    )
    update requests r set state = ${STATE.skipped}, reason = 'max_pages_per_host', detail = p.detail, ready_at = null,
      finished_at = now()
    from picked p where r.crawl_id = p.crawl_id and r.fp = p.fp
    returning r.crawl_id as "crawlId", r.host_id as "hostId", r.rank::text as rank, p.was_delayed`;
  return countSkipped(tx, spent, rows, most);
}

async function countSkipped(tx: Tx, spent: readonly HostQueueKey[], rows: readonly SkippedRow[], most: number) {
  const counts = new CountDeltas();
  const deltas = new Map<string, CrawlDelta>();
  const queues = new Map(
    spent.map(({ crawlId, hostId }) => [queueKey({ crawlId, hostId }), { crawlId, hostId, n: 0, last: -1n }]),
  );
  for (const row of rows) {
    const queue = queues.get(queueKey(row))!;
    queue.n++;
    const rank = BigInt(row.rank);
    if (!row.was_delayed && rank > queue.last) queue.last = rank;
    const delta = deltas.get(row.crawlId) ?? emptyDelta(row.crawlId);
    delta.queued--;
    delta.skipped++;
    deltas.set(row.crawlId, delta);
    counts.add(row.crawlId, 'reason', 'max_pages_per_host');
  }
  const list = [...queues.values()];
  const heads = list.map((q) => (q.n < most ? NO_RANK : q.last >= 0n ? (q.last + 1n).toString() : null));
  await tx`
    update host_queues q set queued = q.queued - u.n, skipped = q.skipped + u.n, head = coalesce(u.head, q.head)
    from unnest(${list.map((q) => q.crawlId)}::uuid[], ${list.map((q) => q.hostId)}::bigint[],
                ${list.map((q) => q.n)}::bigint[], ${heads}::bigint[]) as u (crawl_id, host_id, n, head)
    where q.crawl_id = u.crawl_id and q.host_id = u.host_id`;
  await counts.store(tx);
  return { more: new Map(list.map((q) => [queueKey(q), q.n >= most])), deltas: [...deltas.values()] };
}
