import type { Tx } from './client.ts';

/** What the ledger has of a discovery. */
export interface KnownRequest {
  crawlId: string;
  fp: string;
  hostId: number | null;
  state: number;
  reason: string | null;
}

/** Those of these requests that the ledger has. */
export async function knownRequests(tx: Tx, keys: readonly { crawlId: string; fp: string }[]): Promise<KnownRequest[]> {
  return tx<KnownRequest[]>`
    select r.crawl_id as "crawlId", replace(r.fp::text, '-', '') as fp, r.host_id as "hostId", r.state, r.reason
    from unnest(${keys.map((k) => k.crawlId)}::uuid[], ${keys.map((k) => k.fp)}::uuid[]) as u (crawl_id, fp)
    join requests r on r.crawl_id = u.crawl_id and r.fp = u.fp`;
}

/** What is queued in these host queues, as the last commit left it. */
export async function queuedOf(
  tx: Tx,
  keys: readonly { crawlId: string; hostId: number }[],
): Promise<{ crawlId: string; hostId: number; n: number }[]> {
  if (keys.length === 0) return [];
  return tx`
    select q.crawl_id as "crawlId", q.host_id as "hostId", q.queued as n
    from unnest(${keys.map((k) => k.crawlId)}::uuid[], ${keys.map((k) => k.hostId)}::bigint[]) as u (crawl_id, host_id)
    join host_queues q on q.crawl_id = u.crawl_id and q.host_id = u.host_id`;
}

/** URLs of one pattern. */
export interface PatternCount {
  crawlId: string;
  /** 32 hex digits. */
  pattern: string;
  n: number;
}

/** How many URLs of these patterns were queued. */
export async function patternCounts(tx: Tx, keys: readonly Omit<PatternCount, 'n'>[]): Promise<PatternCount[]> {
  if (keys.length === 0) return [];
  return tx<PatternCount[]>`
    select p.crawl_id as "crawlId", replace(p.pattern::text, '-', '') as pattern, p.n
    from unnest(${keys.map((k) => k.crawlId)}::uuid[], ${keys.map((k) => k.pattern)}::uuid[]) as u (crawl_id, pattern)
    join url_patterns p on p.crawl_id = u.crawl_id and p.pattern = u.pattern`;
}

/** Adds to the counts. The crawls' row locks must be held. */
export async function addPatterns(tx: Tx, counts: readonly PatternCount[]): Promise<void> {
  if (counts.length === 0) return;
  await tx`
    insert into url_patterns as p (crawl_id, pattern, n)
    select * from unnest(${counts.map((c) => c.crawlId)}::uuid[], ${counts.map((c) => c.pattern)}::uuid[],
                         ${counts.map((c) => c.n)}::bigint[])
    on conflict (crawl_id, pattern) do update set n = p.n + excluded.n`;
}
