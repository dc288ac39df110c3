import { ByCrawl } from '../model/by_crawl.ts';
import type { Db, Tx } from './client.ts';

/** `head` of a host queue that has nothing but delayed requests. */
export const NO_RANK = '9223372036854775807';

/** A host queue with work. */
export interface ActiveQueue {
  crawlId: string;
  hostId: number;
  queued: number;
  /** Not all of them are waiting for a retry. */
  isReady: boolean;
  settingsVersion: number;
  /** Of the crawl's stored cookies; 0: it has none. */
  cookiesVersion: number;
}

/** The host queues with queued requests, of running crawls, on the hosts that this node holds. */
export async function activeQueues(sql: Db, nodeId: string): Promise<ActiveQueue[]> {
  return sql<ActiveQueue[]>`
    select q.crawl_id as "crawlId", q.host_id as "hostId", q.queued,
           q.head < ${NO_RANK}::bigint as "isReady", c.settings_version as "settingsVersion",
           c.cookies_version as "cookiesVersion"
    from hosts h join host_queues q on q.host_id = h.id join crawls c on c.id = q.crawl_id
    where h.node_id = ${nodeId} and q.queued > 0 and c.state in ('queued', 'running')`;
}

/** When the next delayed request of each host queue is due, in milliseconds from now. */
export async function nextDelayed(
  sql: Db,
  queues: readonly { crawlId: string; hostId: number }[],
): Promise<{ crawlId: string; hostId: number; waitMs: number }[]> {
  return sql<{ crawlId: string; hostId: number; waitMs: number }[]>`
    select u.crawl_id as "crawlId", u.host_id as "hostId", (extract(epoch from r.ready_at - now()) * 1000)::float8 as "waitMs"
    from unnest(${queues.map((q) => q.crawlId)}::uuid[], ${queues.map((q) => q.hostId)}::bigint[]) as u (crawl_id, host_id)
    cross join lateral (
      select ready_at from requests r where r.crawl_id = u.crawl_id and r.host_id = u.host_id and r.state = 1
      order by ready_at limit 1) r`;
}

/** What a transaction changes in one host queue. */
export interface QueueDelta {
  crawlId: string;
  hostId: number;
  queued: number;
  inProgress: number;
  done: number;
  failed: number;
  skipped: number;
  /** Smallest rank that became queued; null: none did. */
  minRank: bigint | null;
}

/** Sums of `QueueDelta`, by host queue. */
export class QueueDeltas {
  readonly #deltas = new ByCrawl<number, QueueDelta>();

  of(crawlId: string, hostId: number): QueueDelta {
    let delta = this.#deltas.get(crawlId, hostId);
    if (delta === undefined) {
      delta = { crawlId, hostId, queued: 0, inProgress: 0, done: 0, failed: 0, skipped: 0, minRank: null };
      this.#deltas.set(crawlId, hostId, delta);
    }
    return delta;
  }

  /** One more queued request of this rank. */
  queue(crawlId: string, hostId: number, rank: bigint): void {
    const delta = this.of(crawlId, hostId);
    delta.queued++;
    if (delta.minRank === null || rank < delta.minRank) delta.minRank = rank;
  }

  /** In the order of the key, so that two transactions take the rows in the same order. */
  sorted(): QueueDelta[] {
    return this.#deltas
      .values()
      .sort((a, b) => (a.crawlId === b.crawlId ? a.hostId - b.hostId : a.crawlId < b.crawlId ? -1 : 1));
  }
}

/** Adds the deltas; makes the rows that are not there. The crawls' rows must be locked. */
export async function applyQueueDeltas(tx: Tx, deltas: readonly QueueDelta[]): Promise<void> {
  if (deltas.length === 0) return;
  const found = await addDeltas(tx, deltas);
  if (found.length === deltas.length) return;
  // Rows that are to be made are few, but for a crawl of many hosts: most commits are spared the statement.
  const keys = new Set(found.map(keyOf));
  const missing = deltas.filter((delta) => !keys.has(keyOf(delta)));
  await tx`
    insert into host_queues (crawl_id, host_id, head)
    select crawl_id, host_id, ${NO_RANK}::bigint
    from unnest(${missing.map((d) => d.crawlId)}::uuid[], ${missing.map((d) => d.hostId)}::bigint[]) as u (crawl_id, host_id)
    on conflict (crawl_id, host_id) do nothing`;
  await addDeltas(tx, missing);
}

const keyOf = ({ crawlId, hostId }: Pick<QueueDelta, 'crawlId' | 'hostId'>): string => `${crawlId} ${hostId}`;

/** @returns the keys of the rows that are there */
async function addDeltas(tx: Tx, deltas: readonly QueueDelta[]): Promise<Pick<QueueDelta, 'crawlId' | 'hostId'>[]> {
  const column = (key: 'hostId' | 'queued' | 'inProgress' | 'done' | 'failed' | 'skipped') => deltas.map((d) => d[key]);
  return tx<Pick<QueueDelta, 'crawlId' | 'hostId'>[]>`
    update host_queues q set queued = q.queued + u.queued, in_progress = q.in_progress + u.in_progress,
      done = q.done + u.done, failed = q.failed + u.failed, skipped = q.skipped + u.skipped,
      head = least(q.head, u.min_rank)
    from unnest(${deltas.map((d) => d.crawlId)}::uuid[], ${column('hostId')}::bigint[], ${column('queued')}::bigint[],
      ${column('inProgress')}::bigint[], ${column('done')}::bigint[], ${column('failed')}::bigint[],
      ${column('skipped')}::bigint[], ${deltas.map((d) => (d.minRank ?? NO_RANK).toString())}::bigint[])
      as u (crawl_id, host_id, queued, in_progress, done, failed, skipped, min_rank)
    where q.crawl_id = u.crawl_id and q.host_id = u.host_id
    returning q.crawl_id as "crawlId", q.host_id as "hostId"`;
}
