import { STATE } from '../model/request.ts';
import type { Tx } from './client.ts';

/** A discovered request on its way into the ledger. */
export interface Discovery {
  crawlId: string;
  fp: string;
  seq: number;
  rank: bigint;
  hostId: number | null;
  parent: number;
  depth: number;
  priority: number;
  redirects: number;
  url: string;
  /** Null: queued. */
  reason: string | null;
  detail: string | null;
  /** JSON text of its `RequestExtra`; null: a plain GET. */
  extra: string | null;
}

export interface InsertedRequest {
  crawlId: string;
  seq: number;
}

/** Inserts what is new; what the ledger has is left alone. Seen and queued are this one statement (invariant 1). */
export async function insertDiscoveries(tx: Tx, rows: readonly Discovery[]): Promise<InsertedRequest[]> {
  if (rows.length === 0) return [];
  const column = <K extends keyof Discovery>(key: K) => rows.map((row) => row[key]);
  // Nearly every batch is of plain GETs alone: it does not name the column.
  const hasExtra = rows.some((row) => row.extra !== null);
  const extras = hasExtra ? tx`, ${column('extra')}::text[]` : tx``;
  return tx<InsertedRequest[]>`
    insert into requests (crawl_id, fp, seq, rank, host_id, parent, depth, priority, redirects, state, url, reason, detail
      ${hasExtra ? tx`, extra` : tx``})
    select crawl_id, fp, seq, rank, host_id, parent, depth, priority, redirects,
           case when reason is null then ${STATE.queued}::int else ${STATE.skipped}::int end, url, reason, detail
           ${hasExtra ? tx`, extra::json` : tx``}
    from unnest(${column('crawlId')}::uuid[], ${column('fp')}::uuid[], ${column('seq')}::bigint[],
      ${rows.map((row) => row.rank.toString())}::bigint[], ${column('hostId')}::bigint[], ${column('parent')}::bigint[],
      ${column('depth')}::int[], ${column('priority')}::int[], ${column('redirects')}::int[], ${column('url')}::text[],
      ${column('reason')}::text[], ${column('detail')}::text[] ${extras})
      as u (crawl_id, fp, seq, rank, host_id, parent, depth, priority, redirects, url, reason, detail
        ${hasExtra ? tx`, extra` : tx``})
    on conflict (crawl_id, fp) do nothing
    returning crawl_id as "crawlId", seq`;
}

/** A row of the ledger that a later, better discovery changed. */
export interface ReconsideredRequest {
  crawlId: string;
  fp: string;
  seq: number;
  hostId: number | null;
  depth: number;
  was: number;
  state: number;
  wasReason: string | null;
}

/**
 * A link that one rule denied, or that was too deep, is queued when another rule or a nearer page takes it; and for crawls
 * with `maxDepth` the smaller depth counts. `nearer` says for each discovery whether its crawl has a `maxDepth`.
 *
 * @param extras of a skipped row that is queued now: `bring` takes the discovery's, `keep` leaves what the row has
 */
export async function reconsider(
  tx: Tx,
  rows: readonly Discovery[],
  nearer: readonly boolean[],
  extras: 'bring' | 'keep',
): Promise<ReconsideredRequest[]> {
  if (rows.length === 0) return [];
  const column = <K extends keyof Discovery>(key: K) => rows.map((row) => row[key]);
  const hasExtra = extras === 'bring' && rows.some((row) => row.extra !== null);
  const requeued = tx`b.was = ${STATE.skipped} and b.was_reason in ('denied', 'depth')`;
  const brought = hasExtra ? tx`b.extra::json` : tx`null`;
  return tx<ReconsideredRequest[]>`
    with better as materialized (
      select r.crawl_id, r.fp, r.state as was, r.reason as was_reason, u.depth, u.rank, u.priority, u.parent, u.host_id
        ${hasExtra ? tx`, u.extra` : tx``}
      from unnest(${column('crawlId')}::uuid[], ${column('fp')}::uuid[], ${rows.map((row) => row.rank.toString())}::bigint[],
        ${column('hostId')}::bigint[], ${column('parent')}::bigint[], ${column('depth')}::int[],
        ${column('priority')}::int[], ${nearer.map(Number)}::int[]
        ${hasExtra ? tx`, ${column('extra')}::text[]` : tx``})
        as u (crawl_id, fp, rank, host_id, parent, depth, priority, nearer ${hasExtra ? tx`, extra` : tx``})
      join requests r on r.crawl_id = u.crawl_id and r.fp = u.fp
      where (r.state = ${STATE.skipped} and r.reason in ('denied', 'depth')) or (u.nearer = 1 and r.depth > u.depth)
    )
    update requests r set
      state = case when ${requeued} then ${STATE.queued}::int else r.state end,
      reason = case when ${requeued} then null else r.reason end,
      detail = case when ${requeued} then null else r.detail end,
      ${extras === 'bring' ? tx`extra = case when ${requeued} then ${brought} else r.extra end,` : tx``}
      host_id = coalesce(r.host_id, b.host_id), depth = least(r.depth, b.depth), rank = b.rank, priority = b.priority,
      parent = case when b.depth < r.depth then b.parent else r.parent end
    from better b where r.crawl_id = b.crawl_id and r.fp = b.fp
    returning r.crawl_id as "crawlId", replace(r.fp::text, '-', '') as fp, r.seq, r.host_id as "hostId", r.depth,
              b.was, r.state, b.was_reason as "wasReason"`;
}

/** Keeps which fingerprints a fetched page links to, for crawls with `maxDepth`. */
export async function insertPageLinks(
  tx: Tx,
  pages: readonly { crawlId: string; seq: number; fps: readonly string[] }[],
): Promise<void> {
  if (pages.length === 0) return;
  await tx`
    insert into page_links (crawl_id, seq, fps)
    select crawl_id, seq, fps::uuid[]
    from unnest(${pages.map((p) => p.crawlId)}::uuid[], ${pages.map((p) => p.seq)}::bigint[],
                ${pages.map((p) => `{${p.fps.join(',')}}`)}::text[]) as u (crawl_id, seq, fps)
    on conflict (crawl_id, seq) do update set fps = excluded.fps`;
}

/** What is behind pages that came nearer: their links that the ledger has at a greater depth than they deserve now. */
export async function fartherLinks(
  tx: Tx,
  pages: readonly { crawlId: string; seq: number; depth: number }[],
): Promise<
  {
    crawlId: string;
    fp: string;
    url: string;
    seq: number;
    parent: number;
    depth: number;
    priority: number;
    redirects: number;
  }[]
> {
  return tx`
    select r.crawl_id as "crawlId", replace(r.fp::text, '-', '') as fp, r.url, r.seq, u.seq as parent,
           u.depth + 1 as depth, r.priority, r.redirects
    from unnest(${pages.map((p) => p.crawlId)}::uuid[], ${pages.map((p) => p.seq)}::bigint[],
                ${pages.map((p) => p.depth)}::int[]) as u (crawl_id, seq, depth)
    join page_links l on l.crawl_id = u.crawl_id and l.seq = u.seq
    cross join lateral unnest(l.fps) as f (fp)
    join requests r on r.crawl_id = u.crawl_id and r.fp = f.fp
    where r.depth > u.depth + 1`;
}
