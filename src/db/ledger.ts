import { type Reason, STATE, type StartRequest, type StateCode } from '../model/request.ts';
import type { Db, Tx } from './client.ts';

/** Makes origins known. Commits on its own: an origin without requests harms nobody. */
export async function addHosts(db: Db, origins: readonly string[]): Promise<void> {
  await db`
    insert into hosts (origin) select unnest(${[...new Set(origins)].sort()}::text[]) on conflict do nothing`;
}

/** The first requests of a new crawl with their host queues and counts. Their origins are known (`addHosts`). */
export async function insertStartRequests(tx: Tx, crawlId: string, rows: readonly StartRequest[]): Promise<void> {
  await tx`
    insert into requests (crawl_id, fp, seq, rank, host_id, depth, priority, extra, state, url, reason, detail, finished_at)
    select ${crawlId}, n.fp, n.seq, n.rank, h.id, 0, n.priority, n.extra::json,
      case when n.reason is null then ${STATE.queued}::int else ${STATE.skipped}::int end,
      n.url, n.reason, n.detail, case when n.reason is null then null else now() end
    from unnest(
      ${rows.map((row) => row.fp)}::uuid[], ${rows.map((row) => row.seq)}::bigint[],
      ${rows.map((row) => row.rank.toString())}::bigint[], ${rows.map((row) => row.url)}::text[],
      ${rows.map((row) => row.origin)}::text[], ${rows.map((row) => row.reason)}::text[],
      ${rows.map((row) => row.detail)}::text[], ${rows.map((row) => row.priority)}::int[],
      ${rows.map((row) => row.extra)}::text[]
    ) as n (fp, seq, rank, url, origin, reason, detail, priority, extra)
    left join hosts h on h.origin = n.origin
    order by n.fp`;
  await tx`
    insert into host_queues (crawl_id, host_id, queued, head)
    select crawl_id, host_id, count(*), min(rank) from requests
    where crawl_id = ${crawlId} and state = ${STATE.queued} group by crawl_id, host_id`;
  await tx`
    insert into crawl_counts (crawl_id, kind, key, n)
    select crawl_id, 'reason', reason, count(*) from requests
    where crawl_id = ${crawlId} and reason is not null group by crawl_id, reason`;
}

/** A row of the ledger with the URL that discovered it. */
export interface LedgerRow {
  seq: number;
  url: string;
  /** Null: GET. */
  method: string | null;
  state: StateCode;
  reason: Reason | null;
  detail: string | null;
  status: number | null;
  depth: number;
  priority: number;
  attempts: number;
  redirects: number;
  items: number;
  bytes: number | null;
  fetch_ms: number | null;
  ready_at: Date | null;
  finished_at: Date | null;
  parent: number | null;
  parent_url: string | null;
}

export interface LedgerFilter {
  /** Stored states; none: every one. */
  states?: readonly StateCode[] | undefined;
  reason?: string | undefined;
  /** Host name, with its port where that is not the default. */
  host?: string | undefined;
  /** One URL by the fingerprint of its GET; with the canonical `url` its requests of other methods and bodies as well. */
  one?: { fp: string; url?: string } | undefined;
  /** Exclusive. */
  after: number;
  limit: number;
}

const columns = (db: Db) => db`
  r.seq, r.url, r.extra->>'method' as method, r.state, r.reason, r.detail, r.status, r.depth, r.priority, r.attempts, r.redirects, r.items, r.bytes,
  r.fetch_ms, r.ready_at, r.finished_at, r.parent, p.url as parent_url`;

/** By two indexes, each for itself: with an `or` the planner might read the whole crawl instead. */
const hasUrl = (db: Db, crawlId: string, { url, fp }: { url?: string; fp: string }) =>
  url === undefined
    ? db`fp = ${fp}::uuid`
    : db`fp in (
        select ${fp}::uuid union all
        select fp from requests
        where crawl_id = ${crawlId} and extra is not null and md5(url) = md5(${url}) and url = ${url})`;

/** A page of the ledger in order of discovery. */
export async function listRequests(db: Db, crawlId: string, filter: LedgerFilter): Promise<LedgerRow[]> {
  const { states, reason, host, one } = filter;
  return db<LedgerRow[]>`
    select ${columns(db)}
    from (
      select * from requests
      where crawl_id = ${crawlId} and seq > ${filter.after}
        ${states === undefined ? db`` : db`and state = any(${[...states]}::smallint[])`}
        ${reason === undefined ? db`` : db`and reason = ${reason}`}
        ${host === undefined ? db`` : db`and split_part(url, '/', 3) = ${host}`}
        ${one === undefined ? db`` : db`and ${hasUrl(db, crawlId, one)}`}
      order by seq limit ${filter.limit}
    ) r
    left join requests p on p.crawl_id = ${crawlId} and p.seq = r.parent
    order by r.seq`;
}

/** The pages that led to a request, nearest first: its parent, that one's parent, at most `hops`. */
export async function readParents(
  db: Db,
  crawlId: string,
  parent: number,
  hops: number,
): Promise<{ url: string; depth: number }[]> {
  return db<{ url: string; depth: number }[]>`
    with recursive chain as (
      select seq, parent, url, depth, 1 as hop from requests where crawl_id = ${crawlId} and seq = ${parent}
      union all
      select r.seq, r.parent, r.url, r.depth, c.hop + 1
      from chain c join requests r on r.crawl_id = ${crawlId} and r.seq = c.parent
      where c.hop < ${hops}
    )
    select url, depth from chain order by hop`;
}
