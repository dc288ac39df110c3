import type { Db } from './client.ts';

export interface CountRow {
  kind:
    | 'reason'
    | 'status'
    | 'drop'
    | 'field'
    | 'type'
    | 'change'
    | 'flag'
    | 'step'
    | 'fetch_ms'
    | 'cpu_us'
    | 'cpu_pages'
    | 'call';
  key: string;
  n: number;
}

/** All that is counted by a word in a crawl, but for zeros. Bounded: the words come from closed lists and from the definition. */
export async function readCounts(db: Db, crawlId: string): Promise<CountRow[]> {
  return db<CountRow[]>`
    select kind, key, n from crawl_counts where crawl_id = ${crawlId} and n <> 0 order by kind, n desc, key limit 5000`;
}

export interface HostRow {
  origin: string;
  queued: number;
  in_progress: number;
  done: number;
  failed: number;
  skipped: number;
  /** Nothing is fetched from it before this; null: something may be, or nothing is queued. */
  left_alone_until: Date | null;
}

/** The crawl's host queues with the most requests. */
export async function readHosts(db: Db, crawlId: string, limit: number): Promise<HostRow[]> {
  return db<HostRow[]>`
    select h.origin, q.queued, q.in_progress, q.done, q.failed, q.skipped,
      case when q.queued > 0 and h.next_at > now() then h.next_at end as left_alone_until
    from host_queues q join hosts h on h.id = q.host_id
    where q.crawl_id = ${crawlId}
    order by q.queued + q.in_progress + q.done + q.failed + q.skipped desc, h.origin
    limit ${limit}`;
}
