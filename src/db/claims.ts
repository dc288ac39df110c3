import { readExtra } from '../model/extra.ts';
import { type ClaimedRequest, STATE } from '../model/request.ts';
import { inKeyedTransaction, type Sql, type Tx } from './client.ts';
import { noteChanges } from './crawl_changes.ts';
import { applyCrawlDeltas, type CrawlDelta, emptyDelta, lockCrawls, settleCrawls } from './crawl_counters.ts';
import { numberFailures } from './failures.ts';
import { hostBudgets, queueKey, skipSpent } from './host_budgets.ts';
import { applyQueueDeltas, QueueDeltas } from './host_queues.ts';
import { fencedHosts } from './hosts.ts';
import { CountDeltas } from './outcomes.ts';

/** A crash more than this, and the request fails as `crashed`: a page that kills its node cannot loop (invariant 9). */
export const MAX_CRASHES = 10;

/** What a node wants from one host queue. */
export interface ClaimWant {
  crawlId: string;
  hostId: number;
  fence: number;
  n: number;
}

export interface ClaimResult {
  /** In the order of fetching within each host queue. */
  requests: ClaimedRequest[];
  /** Settings versions of the crawls that run; a crawl that is not there is not running. */
  running: Map<string, number>;
  /** Hosts whose lease this node still holds, with its fence. */
  held: ReadonlyMap<number, number>;
  /** Crawls, and host queues by `queueKey`, whose limit of pages leaves nothing to claim until something in progress ends. */
  exhausted: Set<string>;
  /** Host queues whose `maxPagesPerHost` is used up, by `queueKey`: whether more of them is still to be skipped. */
  spent: ReadonlyMap<string, boolean>;
}

interface ClaimedRow extends Omit<ClaimedRequest, 'fence' | 'extra'> {
  extra: string | null;
  rank: string;
  was_delayed: boolean;
}

/**
 * Claims queued requests for this node: they become fetching and their attempt is counted, in one transaction under the
 * crawls' row locks, so that done + in progress never exceeds `maxPages` on any number of nodes (behaviour 24).
 */
export async function claim(sql: Sql, nodeId: string, wants: readonly ClaimWant[]): Promise<ClaimResult> {
  return inKeyedTransaction(sql, async (tx) => {
    const crawlIds = [...new Set(wants.map((want) => want.crawlId))].sort();
    const [crawls, held] = await Promise.all([startCrawls(tx, crawlIds), fencedHosts(tx, nodeId, uniqueHosts(wants))]);
    const budgets = new Map(
      crawls.map((c) => [c.id, c.max_pages === null ? Infinity : c.max_pages - c.done - c.in_progress]),
    );
    const caps = new Map(crawls.flatMap((c) => (c.max_pages_per_host === null ? [] : [[c.id, c.max_pages_per_host]])));
    const mine = wants.filter((want) => held.has(want.hostId));
    const { rooms, spent } = await hostBudgets(tx, mine, caps);
    const granted = mine.filter((want) => take(budgets, rooms, want));
    const rows = granted.length === 0 ? [] : await claimRows(tx, granted);
    await countClaims(tx, granted, rows);
    const skipped = await skipSpent(tx, spent, caps);
    const atEnd = crawls.filter((c) => c.in_progress === 0 && c.max_pages !== null && c.done >= c.max_pages);
    const deltas = new Map(
      [...atEnd.map((c) => emptyDelta(c.id)), ...skipped.deltas].map((delta) => [delta.id, delta]),
    );
    if (deltas.size > 0) await settleCrawls(tx, await applyCrawlDeltas(tx, [...deltas.values()]));
    const full = mine.map(queueKey).filter((key) => (rooms.get(key) ?? 1) <= 0 && !skipped.more.has(key));
    const fences = new Map(wants.map((want) => [want.hostId, want.fence]));
    return {
      requests: rows.map(({ rank: _rank, was_delayed: _delayed, ...row }) => ({
        ...row,
        extra: readExtra(row.extra),
        fence: fences.get(row.hostId)!,
      })),
      running: new Map(crawls.map((c) => [c.id, c.settings_version])),
      held,
      exhausted: new Set([...crawls.filter((c) => (budgets.get(c.id) ?? 0) <= 0).map((c) => c.id), ...full]),
      spent: skipped.more,
    };
  });
}

function uniqueHosts(wants: readonly ClaimWant[]): { id: number; fence: number }[] {
  return [...new Map(wants.map((want) => [want.hostId, { id: want.hostId, fence: want.fence }])).values()];
}

/** Cuts the want to the crawl's budget and its host's; false where nothing is left. */
function take(budgets: Map<string, number>, rooms: ReadonlyMap<string, number>, want: ClaimWant): boolean {
  const budget = budgets.get(want.crawlId) ?? 0;
  const room = rooms.size === 0 ? Infinity : (rooms.get(queueKey(want)) ?? Infinity);
  want.n = Math.max(0, Math.min(want.n, budget, room));
  budgets.set(want.crawlId, budget - want.n);
  return want.n > 0;
}

interface RunningCrawl {
  id: string;
  max_pages: number | null;
  max_pages_per_host: number | null;
  done: number;
  in_progress: number;
  settings_version: number;
  /** In this very transaction. */
  has_started: boolean;
}

/**
 * Locks the crawls that run; one that was queued starts here, and its clock with it. `is true` keeps crawls_active out of it,
 * which has them in another order than `lockForCommit` takes them.
 */
async function startCrawls(tx: Tx, ids: readonly string[]): Promise<RunningCrawl[]> {
  const rows = await tx<RunningCrawl[]>`
    update crawls set state = 'running', started_at = coalesce(started_at, now()),
      deadline_at = case when state = 'queued' then now() + remaining_ms * interval '1 ms' else deadline_at end,
      remaining_ms = case when state = 'queued' then null else remaining_ms end
    where id = any (${ids as string[]}::uuid[]) and (state in ('queued', 'running')) is true
    returning id, max_pages, max_pages_per_host, done, in_progress, settings_version, started_at = now() as has_started`;
  await noteChanges(
    tx,
    rows.flatMap((row) => (row.has_started ? [row.id] : [])),
  );
  return rows;
}

/** The states are literals: a cached plan with a parameter in their place cannot use the partial indexes. */
async function claimRows(tx: Tx, wants: readonly ClaimWant[]): Promise<ClaimedRow[]> {
  const rows = await tx<ClaimedRow[]>`
    with picked as materialized (
      select p.* from unnest(${wants.map((w) => w.crawlId)}::uuid[], ${wants.map((w) => w.hostId)}::bigint[],
                             ${wants.map((w) => w.n)}::int[]) as w (crawl_id, host_id, n)
      join host_queues q on q.crawl_id = w.crawl_id and q.host_id = w.host_id
      cross join lateral (
        (select r.crawl_id, r.fp, true as was_delayed from requests r
         where r.crawl_id = w.crawl_id and r.host_id = w.host_id and r.state = 1 and r.ready_at <= now()
         order by r.ready_at limit w.n)
        union all
        (select r.crawl_id, r.fp, false from requests r
         where r.crawl_id = w.crawl_id and r.host_id = w.host_id and r.state = 0 and r.rank >= q.head
         order by r.rank limit w.n)
        limit w.n
      ) p
    )
    update requests r set state = ${STATE.fetching}, attempts = r.attempts + 1, ready_at = null, reason = null
    from picked p where r.crawl_id = p.crawl_id and r.fp = p.fp
    returning r.crawl_id as "crawlId", replace(r.fp::text, '-', '') as fp, r.seq, r.host_id as "hostId", r.url, r.depth,
              r.priority, r.attempts, r.crashes, r.redirects, r.extra::text as extra, r.rank::text as rank, p.was_delayed`;
  return rows.sort((a, b) => a.rank.length - b.rank.length || (a.rank < b.rank ? -1 : 1));
}

/** Moves the counters, and each host queue's head behind what was claimed. */
async function countClaims(tx: Tx, wants: readonly ClaimWant[], rows: readonly ClaimedRow[]): Promise<void> {
  if (wants.length === 0) return;
  const queues = new Map(wants.map((w) => [`${w.crawlId} ${w.hostId}`, { ...w, claimed: 0, last: -1n, fromQueue: 0 }]));
  const crawls = new Map<string, CrawlDelta>();
  for (const row of rows) {
    const queue = queues.get(`${row.crawlId} ${row.hostId}`)!;
    queue.claimed++;
    if (!row.was_delayed) {
      queue.fromQueue++;
      queue.last = BigInt(row.rank);
    }
    const delta = crawls.get(row.crawlId) ?? emptyDelta(row.crawlId);
    delta.queued--;
    delta.inProgress++;
    crawls.set(row.crawlId, delta);
  }
  const list = [...queues.values()];
  // Fewer than asked: nothing queued is left behind head, until an insert puts head back.
  const heads = list.map((q) =>
    q.claimed < q.n ? '9223372036854775807' : q.fromQueue > 0 ? (q.last + 1n).toString() : null,
  );
  await Promise.all([
    tx`
      update host_queues q set queued = q.queued - u.n, in_progress = q.in_progress + u.n, head = coalesce(u.head, q.head)
      from unnest(${list.map((q) => q.crawlId)}::uuid[], ${list.map((q) => q.hostId)}::bigint[],
                  ${list.map((q) => q.claimed)}::bigint[], ${heads}::bigint[]) as u (crawl_id, host_id, n, head)
      where q.crawl_id = u.crawl_id and q.host_id = u.host_id`,
    applyCrawlDeltas(tx, [...crawls.values()]),
  ]);
}

/** Hands back requests that were claimed and not begun; their attempt does not count. */
export async function handBack(sql: Sql, requests: readonly ClaimedRequest[]): Promise<void> {
  if (requests.length === 0) return;
  await inKeyedTransaction(sql, async (tx) => {
    await lockCrawls(tx, [...new Set(requests.map((r) => r.crawlId))]);
    const rows = await tx<RequeuedRow[]>`
      update requests r set state = ${STATE.queued}, attempts = r.attempts - 1
      from unnest(${requests.map((r) => r.crawlId)}::uuid[], ${requests.map((r) => r.fp)}::uuid[],
                  ${requests.map((r) => r.attempts)}::int[]) as u (crawl_id, fp, attempts)
      where r.crawl_id = u.crawl_id and r.fp = u.fp and (r.state = ${STATE.fetching}) is true and r.attempts = u.attempts
      returning r.crawl_id as "crawlId", replace(r.fp::text, '-', '') as fp, r.host_id as "hostId", r.rank::text as rank, r.state`;
    await countRequeued(tx, rows);
  });
}

interface RequeuedRow {
  crawlId: string;
  fp: string;
  hostId: number;
  rank: string;
  state: number;
}

/**
 * Puts everything that is fetching on these hosts back into the queue. For a new holder of the lease, before it claims
 * (the former one died), and for a node that lost the answer to a claim. Hosts that this node does not hold under the
 * given fence any more are left alone (invariant 3).
 *
 * @param crashed counts a crash for each; a request that crashed MAX_CRASHES times fails
 * @returns the crawls that had something in progress there
 */
export async function recoverHosts(
  sql: Sql,
  nodeId: string,
  leases: readonly { id: number; fence: number }[],
  crashed: boolean,
): Promise<string[]> {
  return inKeyedTransaction(sql, async (tx) => {
    const hosts = [...(await fencedHosts(tx, nodeId, leases)).keys()];
    const crawls = await tx<{ id: string }[]>`
      select distinct crawl_id as id from host_queues where host_id = any (${hosts}::bigint[]) and in_progress > 0`;
    if (crawls.length === 0) return [];
    const ids = crawls.map((c) => c.id);
    await lockCrawls(tx, ids);
    const add = crashed ? 1 : 0;
    const rows = await tx<RequeuedRow[]>`
      update requests r set crashes = r.crashes + ${add}::int,
        state = case when r.crashes + ${add}::int >= ${MAX_CRASHES}::int then ${STATE.failed}::int else ${STATE.queued}::int end,
        reason = case when r.crashes + ${add}::int >= ${MAX_CRASHES}::int then 'crashed' end,
        finished_at = case when r.crashes + ${add}::int >= ${MAX_CRASHES}::int then now() end
      where r.crawl_id = any (${ids}::uuid[]) and r.host_id = any (${hosts}::bigint[])
        and r.state = 2
      returning r.crawl_id as "crawlId", replace(r.fp::text, '-', '') as fp, r.host_id as "hostId", r.rank::text as rank, r.state`;
    await countRequeued(tx, rows);
    return ids;
  });
}

/** In progress → queued or failed, in the counters of the host queues and the crawls. */
async function countRequeued(tx: Tx, rows: readonly RequeuedRow[]): Promise<void> {
  const queues = new QueueDeltas();
  const crawls = new Map<string, CrawlDelta>();
  const counts = new CountDeltas();
  for (const row of rows) {
    const delta = crawls.get(row.crawlId) ?? emptyDelta(row.crawlId);
    crawls.set(row.crawlId, delta);
    const queue = queues.of(row.crawlId, row.hostId);
    delta.inProgress--;
    queue.inProgress--;
    if (row.state === STATE.failed) {
      delta.failed++;
      queue.failed++;
      counts.add(row.crawlId, 'reason', 'crashed');
    } else {
      delta.queued++;
      queues.queue(row.crawlId, row.hostId, BigInt(row.rank));
    }
  }
  await applyQueueDeltas(tx, queues.sorted());
  await counts.store(tx);
  const statuses = await applyCrawlDeltas(tx, [...crawls.values()]);
  await numberFailures(
    tx,
    rows.filter((row) => row.state === STATE.failed),
    statuses,
  );
  await settleCrawls(tx, statuses);
}
